# Not built here: the suite builds it as a stranger would, from a copy, against installed headers.
EXTRA_DIST += %D%/template.c %D%/Makefile %D%/README.md
BATS += t/2010-template-engine.bats
