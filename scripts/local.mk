EXTRA_DIST += %D%/quickstart %D%/check %D%/bench %D%/packages.sh %D%/cluster
