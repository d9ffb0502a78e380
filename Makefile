# Short names for the scripts; each makes the environment first where it is missing.
.PHONY: check test slow quickstart results fuzz audit soak

check: # ruff, mypy, import-linter and the fast tests
	bash scripts/test.sh

test: # the fast tests alone
	bash scripts/test.sh --no-lint

slow: # the slow tests alone
	bash scripts/test.sh --no-lint --slow

quickstart: # fine-tune a real pretrained model in minutes
	bash scripts/quickstart.sh

results: # the figures of docs/RESULTS.md (hours on a CPU; resumes where it stopped)
	bash scripts/reproduce_results.sh

fuzz: # mutated files into everything that reads untrusted ones (FUZZ_SECONDS each, default 60)
	bash scripts/fuzz.sh

audit: # known vulnerabilities of the locked packages (needs the network; exit code 3: not done)
	bash scripts/audit.sh

soak: # kills and full disks at every point of what a run writes, each resumed (half an hour)
	bash scripts/soak.sh
