/* Prints the tables of cairn-protocol(7) from the rows of the program: operations, fields, errors. */
#include <stdio.h>
#include <cairn/errors.h>
#include "operation.h"
#include "banned.h"

static void arguments(const struct operation_argument *a)
{
	for (; a->field; a++)
		printf(".%s %s%s\n", a->required ? "BR" : "IR", cairn_field_row(a->field)->json,
		       a[1].field ? " ," : " .");
}

static void operations(void)
{
	static const char *const may[] = { "read", "write", "admin" };

	printf(".SH OPERATIONS\nNumber, aliases and the permission that is needed stand behind the name; "
	       "required arguments are bold.\n"
	       "Every operation also takes\n");
	arguments(operation_common);
	for (unsigned op = 1; op < CAIRN_OPERATION_COUNT; op++) {
		const struct cairn_operation_row *row = cairn_operation_row(op);

		if (!operation(op))
			continue;
		printf(".TP\n.B %s\n(%u%s%s; %s)\n%s.\n", row->name, op, row->aliases[0] ? "; " : "",
		       row->aliases, may[row->permission], row->help);
		if (operation(op)->arguments->field)
			printf("Takes\n");
		arguments(operation(op)->arguments);
	}
}

static void fields(void)
{
	printf(".SH FIELDS\nIdentifier in the binary encoding and type stand behind the name in JSON.\n"
	       "Answers hold the same fields as requests.\n");
	for (unsigned f = 1; f < CAIRN_FIELD_COUNT; f++)
		if (cairn_field_row(f))
			printf(".TP\n.B %s\n(%u; %s)\n%s.\n", cairn_field_row(f)->json, f,
			       cairn_type_name(cairn_field_row(f)->type), cairn_field_row(f)->meaning);
}

static void errors(void)
{
	printf(".SH ERRORS\nNumber in the binary encoding and exit code of\n.BR cairn (1)\nstand behind the "
	       "name.\n");
	for (unsigned e = 1; e < CAIRN_ERROR_COUNT; e++)
		printf(".TP\n.B %s\n(%u; %d)\n%s.\n", cairn_error_row(e)->name, e,
		       cairn_error_row(e)->exit_code, cairn_error_row(e)->meaning);
}

int main(void)
{
	operations();
	fields();
	errors();
	return 0;
}
