EXTRA_DIST += %D%/quickstart %D%/check %D%/packages.sh
