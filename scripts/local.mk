EXTRA_DIST += %D%/quickstart %D%/check %D%/bench %D%/packages.sh %D%/cluster
EXTRA_DIST += %D%/systemd/cairnd.service %D%/systemd/cairnfs@.service
