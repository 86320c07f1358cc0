//go:build !cuda && !cudaemu

package main

import (
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"mop/runtime/device"
)

// A binary that links the CUDA driver does not start without one. This one does
// not: where a GPU is asked for, it replaces itself by its twin, mop-cuda, which
// lies beside it and was built with the tag cuda.
const companionName = "mop-cuda"

var (
	errNoCompanion = errors.New("no " + companionName + " beside this binary (make cuda builds it)")
	errNotCUDA     = errors.New("the " + companionName + " beside this binary was not built with the tag cuda (make cuda does)")
)

// errOtherBuild says that the twin is of other sources: what it computes might differ.
type errOtherBuild struct{ twin, self string }

func (e errOtherBuild) Error() string {
	return fmt.Sprintf("%s is of commit %s, this binary of %s (make cuda builds both)", companionName, e.twin, e.self)
}

// sameBuild holds a Go binary to the tag and, where both say it, to the commit of this
// one. What cannot be read is left to its start to tell.
func sameBuild(path string) error {
	other, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil
	}
	said := func(b *debug.BuildInfo, key string) string {
		for _, s := range b.Settings {
			if s.Key == key {
				return s.Value
			}
		}
		return ""
	}
	if !slices.Contains(strings.Split(said(other, "-tags"), ","), "cuda") {
		return errNotCUDA
	}
	if self, ok := debug.ReadBuildInfo(); ok {
		const commit = "vcs.revision"
		if a, b := said(other, commit), said(self, commit); a != b && a != "" && b != "" {
			return errOtherBuild{a, b}
		}
	}
	return nil
}

// companion finds the twin and asks it, in a process of its own, for the GPUs it sees.
func companion() (path string, gpus []deviceInfo, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return "", nil, err
	}
	path = filepath.Join(filepath.Dir(self), companionName)
	there, err := os.Stat(path)
	if err != nil {
		return "", nil, errNoCompanion
	}
	if me, err := os.Stat(self); err == nil && os.SameFile(me, there) { // it would ask itself, for ever
		return "", nil, errNotCUDA
	}
	if err := sameBuild(path); err != nil {
		return "", nil, err
	}
	if gpus, err = queryCompanion(path); err != nil {
		return "", nil, err
	}
	return path, gpus, nil
}

// reply is what a twin says: no more than a list of devices can be.
type reply struct {
	text []byte
	long bool // it said more
}

const (
	maxReply         = 1 << 20 // bytes
	companionTimeout = time.Minute
)

func (r *reply) Write(p []byte) (int, error) {
	if len(r.text)+len(p) > maxReply {
		r.long = true
		return 0, errLongReply // which ends it
	}
	r.text = append(r.text, p...)
	return len(p), nil
}

var errLongReply = fmt.Errorf("says more than %d bytes", maxReply)

// queryCompanion gives the GPUs that a twin sees, at least one.
func queryCompanion(path string) (gpus []deviceInfo, err error) {
	wait, cancel := context.WithTimeout(context.Background(), companionTimeout)
	defer cancel()
	ctx, stop := signal.NotifyContext(wait, os.Interrupt, syscall.SIGTERM)
	defer stop()
	ask := exec.CommandContext(ctx, path, "inspect", "--devices", "--json")
	ask.WaitDelay = time.Second // for what it may have started
	var said, complaint reply
	ask.Stdout, ask.Stderr = &said, &complaint
	err = ask.Run()
	if said.long || complaint.long {
		return nil, fmt.Errorf("%s: %w", companionName, errLongReply)
	}
	if wait.Err() != nil {
		return nil, fmt.Errorf("%s: no answer in %v", companionName, companionTimeout)
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s: %w", companionName, ctx.Err())
	}
	if err != nil {
		// The loader complains on stderr, package cu on stdout.
		text := strings.TrimSpace(string(complaint.text) + string(said.text))
		if _, after, ok := strings.Cut(text, "for details on: "); ok {
			text = "the driver says " + after
		}
		first, _, _ := strings.Cut(text, "\n")
		if first == "" {
			first = err.Error() // it did not come to saying anything
		}
		return nil, fmt.Errorf("%s does not start: %s", companionName, first)
	}
	var all []deviceInfo
	if err := json.Unmarshal(said.text, &all); err != nil {
		return nil, fmt.Errorf("%s: %w", companionName, err)
	}
	for _, p := range all {
		if strings.HasPrefix(p.Device, "cuda:") {
			gpus = append(gpus, p)
		}
	}
	if len(gpus) == 0 {
		return nil, errors.New("the driver knows of no device")
	}
	return gpus, nil
}

// openCUDA goes on as the twin, which looks at all flags again, where that finds the
// GPU, and else says why not, and which there are.
func openCUDA(f deviceFlag, _ string) (device.Device, []deviceInfo, error) {
	path, gpus, err := companion()
	if err == nil && f.index >= len(gpus) {
		err = noGPU(f.index)
	}
	if err != nil {
		if f.kind == "auto" && errors.As(err, new(errOtherBuild)) { // a GPU may be there all the same
			slog.Warn("the CPU is taken", "because", err)
		}
		return nil, gpus, err
	}
	err = syscall.Exec(path, append([]string{os.Args[0]}, os.Args[1:]...), os.Environ())
	return nil, gpus, fmt.Errorf("%s: %w", companionName, err)
}

func listCUDA() ([]deviceInfo, error) {
	_, gpus, err := companion()
	return gpus, err
}
