# The simulator: worlds of nodes that go wrong, for any replication module.
SIM_WORLD = %D%/sim.h %D%/world.c %D%/host.c %D%/check.c %D%/client.c %D%/order.c %D%/behind.c %D%/linear.h \
	%D%/linear.c
check_PROGRAMS += t/sim/run t/sim/scenario
t_sim_scenario_SOURCES = %D%/scenario.c $(SIM_WORLD)
t_sim_scenario_CPPFLAGS = $(DAEMON_CPPFLAGS)
t_sim_scenario_LDFLAGS = $(AM_LDFLAGS) $(EXPORT_CAIRN)
t_sim_scenario_LDADD = libstore.la libloader.la libbase.la -ldl
t_sim_run_SOURCES = %D%/run.c %D%/life.c $(SIM_WORLD)
t_sim_run_CPPFLAGS = $(DAEMON_CPPFLAGS)
t_sim_run_LDFLAGS = $(AM_LDFLAGS) $(EXPORT_CAIRN)
t_sim_run_LDADD = libstore.la libloader.la libbase.la -ldl

# Linked with the module's own objects, built with smaller bounds, so that a state is small.
check_PROGRAMS += t/sim/small
t_sim_small_SOURCES = %D%/small.c plugins/replication-raft/raft.c plugins/replication-raft/members.c \
	plugins/replication-raft/log.c plugins/replication-raft/message.c plugins/replication-raft/election.c \
	plugins/replication-raft/leader.c plugins/replication-raft/follower.c plugins/replication-raft/read.c
t_sim_small_CPPFLAGS = $(BASE_CPPFLAGS) -I$(top_srcdir) -DMEMBERS_MAX=3 -DWINDOW=4 -DPERSISTS_MAX=4
t_sim_small_LDADD = libbase.la

check_PROGRAMS += t/unit/u-linear t/unit/u-raft
TESTS += t/unit/u-linear t/unit/u-raft
t_unit_u_linear_SOURCES = t/unit/u-linear.c %D%/linear.c
t_unit_u_linear_CPPFLAGS = $(TEST_CPPFLAGS) -I$(top_srcdir)/t/sim
t_unit_u_raft_CPPFLAGS = $(TEST_CPPFLAGS)
t_unit_u_raft_LDADD = libloader.la libbase.la
t_unit_u_raft_LDFLAGS = $(AM_LDFLAGS) $(EXPORT_CAIRN)

BATS += t/3100-raft-sim.bats
EXTRA_DIST += %D%/README.md %D%/plant %D%/seeds $(RAFT_FAULTS) $(RAFT_SCENARIOS)
RAFT_FAULTS = %D%/faults/ack-before-sync.patch \
	%D%/faults/ack-of-older-term.patch \
	%D%/faults/ack-unverified.patch \
	%D%/faults/change-before-commit.patch \
	%D%/faults/commit-beyond-verified.patch \
	%D%/faults/commit-of-older-term.patch \
	%D%/faults/commit-only-on-ack.patch \
	%D%/faults/joint-quorum-as-or.patch \
	%D%/faults/echo-of-anything.patch \
	%D%/faults/joint-left-early.patch \
	%D%/faults/learner-counted.patch \
	%D%/faults/members-not-popped.patch \
	%D%/faults/never-gives-up.patch \
	%D%/faults/outsider-leads-on.patch \
	%D%/faults/own-disk-not-waited-for.patch \
	%D%/faults/position-not-checked.patch \
	%D%/faults/probe-seen-not-reset.patch \
	%D%/faults/read-before-echo.patch \
	%D%/faults/read-before-own-commit.patch \
	%D%/faults/snapshot-drops-acknowledged.patch \
	%D%/faults/stale-append-truncates.patch \
	%D%/faults/stored-of-another-log.patch \
	%D%/faults/transfer-votes-twice.patch \
	%D%/faults/two-votes.patch \
	%D%/faults/verified-not-reset.patch \
	%D%/faults/vote-before-sync.patch \
	%D%/faults/vote-for-any-log.patch \
	%D%/faults/vote-not-persisted.patch
RAFT_SCENARIOS = %D%/scenarios/a-learner-that-lacks-much.txt %D%/scenarios/a-learner-that-lacks-much.out \
	%D%/scenarios/a-tail-that-nobody-had.txt %D%/scenarios/a-tail-that-nobody-had.out \
	%D%/scenarios/c-transfer-and-a-candidate.txt %D%/scenarios/c-transfer-and-a-candidate.out \
	%D%/scenarios/d-change-after-election.txt %D%/scenarios/d-change-after-election.out \
	%D%/scenarios/e-slow-leader-disk.txt %D%/scenarios/e-slow-leader-disk.out \
	%D%/scenarios/figure-8.txt %D%/scenarios/figure-8.out \
	%D%/scenarios/first-election.txt %D%/scenarios/first-election.out \
	%D%/scenarios/leader-loss.txt %D%/scenarios/leader-loss.out \
	%D%/scenarios/members-one-by-one.txt %D%/scenarios/members-one-by-one.out \
	%D%/scenarios/partition.txt %D%/scenarios/partition.out \
	%D%/scenarios/snapshot-instead-of-log.txt %D%/scenarios/snapshot-instead-of-log.out \
	%D%/scenarios/split-vote.txt %D%/scenarios/split-vote.out \
	%D%/scenarios/transfer-under-load.txt %D%/scenarios/transfer-under-load.out
