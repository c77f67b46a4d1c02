EXTRA_DIST += %D%/control.h %D%/metrics.h
