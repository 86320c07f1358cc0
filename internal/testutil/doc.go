// Package testutil holds what tests of several packages share: the place of test
// data outside the repository, and a run that is killed again and again.
package testutil
