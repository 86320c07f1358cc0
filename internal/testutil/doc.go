// Package testutil holds what tests of several packages share: the paths of test
// data outside the repository, a run that is killed repeatedly, small file systems, and
// checks of directories, errors and JSON.
package testutil
