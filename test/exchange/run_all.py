"""Runs the test modules and counts plainly."""

import importlib
import sys
import unittest

MODULES = ("test_rules", "test_recorded", "test_faults", "test_stand_in")


def main():
    suite, missing = unittest.TestSuite(), 0
    for name in MODULES:
        try:
            suite.addTests(unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(name)))
        except ModuleNotFoundError as error:
            if error.name != "exchangelib":
                raise
            missing += 1
            print(f"{name} skipped: python3-exchangelib is not installed", file=sys.stderr)
    result = unittest.TextTestRunner(verbosity=1).run(suite)
    failed = len({id(t) for t, _ in result.failures + result.errors})
    skipped = len(result.skipped) + missing
    passed = max(0, result.testsRun - failed - len(result.skipped))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
