# make coverage: run all tests of a build configured with --enable-coverage and write coverage/index.html.
coverage:
if WITH_COVERAGE
	-$(MAKE) check
	lcov --quiet --capture --base-directory . --directory . --output-file all.info
	top=$$(cd $(abs_top_srcdir) && pwd -P) && lcov --quiet --extract all.info "$$top/core/*" "$$top/plugins/*" \
		"$$top/frontends/*" --output-file coverage.info
	genhtml --quiet --output-directory coverage coverage.info
	@echo "coverage/index.html"
else
	@echo "configure with --enable-coverage first" && exit 1
endif
.PHONY: coverage
CLEANFILES += all.info coverage.info
