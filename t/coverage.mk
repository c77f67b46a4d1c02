# make coverage: run all tests of a build configured with --enable-coverage and write coverage/index.html.
coverage:
if WITH_COVERAGE
	-$(MAKE) check
	top=$$(cd $(abs_top_srcdir) && pwd -P) && lcov --quiet --capture --no-external --base-directory $$top \
		--directory . --directory $$top/core --output-file coverage.info
	lcov --quiet --remove coverage.info '*/t/*' --output-file coverage.info
	genhtml --quiet --output-directory coverage coverage.info
	@echo "coverage/index.html"
else
	@echo "configure with --enable-coverage first" && exit 1
endif
.PHONY: coverage
CLEANFILES += coverage.info
