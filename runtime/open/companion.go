//go:build !cuda && !cudaemu

package open

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
	"slices"
	"strings"
	"syscall"
	"time"

	"mop/internal/build"
	"mop/runtime/device"
)

// companionName is the file name of the CUDA companion binary. A binary that links the
// CUDA driver does not start on a machine without one, so this one does not link it.
// Where a GPU is asked for, this binary replaces itself by the companion, which lies
// beside it and was built with the tag cuda.
const companionName = "mop-cuda"

var (
	errNoCompanion  = errors.New("no " + companionName + " beside this binary (make cuda builds it)")
	errNotCUDA      = errors.New("the " + companionName + " beside this binary was not built with the tag cuda (make cuda does)")
	errReplyTooLong = fmt.Errorf("the reply is longer than %d bytes", maxReply)
)

// errOtherBuild says that the companion was built from other sources than this binary, so
// that it may compute something else.
type errOtherBuild struct{ companion, self string }

func (e errOtherBuild) Error() string {
	return fmt.Sprintf("%s was built from commit %s, this binary from %s (make cuda builds both)", companionName, e.companion, e.self)
}

const (
	maxReply         = 1 << 20 // bytes
	companionTimeout = time.Minute
)

// openGPU continues as the companion binary with the same command line, which does not
// return. If that is not possible it says why, and which GPUs there are.
func openGPU(id DeviceID, _ string, _ bool) (device.Device, []DeviceInfo, error) {
	path, gpus, err := companion()
	if err == nil && id.Index >= len(gpus) {
		err = errNoSuchGPU
	}
	if err != nil {
		if id.Kind == "auto" && errors.As(err, new(errOtherBuild)) { // there may be a GPU all the same
			slog.Warn("using the CPU", "because", err)
		}
		return nil, gpus, err
	}
	err = syscall.Exec(path, append([]string{os.Args[0]}, os.Args[1:]...), os.Environ())
	return nil, gpus, fmt.Errorf("%s: %w", companionName, err)
}

func listGPUs() ([]DeviceInfo, error) {
	_, gpus, err := companion()
	return gpus, err
}

// companion finds the companion binary and asks it for the GPUs that it sees.
func companion() (path string, gpus []DeviceInfo, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	if self, err = filepath.EvalSymlinks(self); err != nil {
		return "", nil, err
	}
	path = filepath.Join(filepath.Dir(self), companionName)
	found, err := os.Stat(path)
	if err != nil {
		return "", nil, errNoCompanion
	}
	if own, err := os.Stat(self); err == nil && os.SameFile(own, found) { // it would ask itself without end
		return "", nil, errNotCUDA
	}
	if err := checkTag(path); err != nil {
		return "", nil, err
	}
	if gpus, err = queryCompanion(path); err != nil {
		return "", nil, err
	}
	return path, gpus, nil
}

// checkTag returns an error if a Go binary was built without the tag cuda. A file that
// cannot be read is left to the attempt to start it.
func checkTag(path string) error {
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return nil
	}
	for _, s := range info.Settings {
		if s.Key == "-tags" && slices.Contains(strings.Split(s.Value, ","), "cuda") {
			return nil
		}
	}
	return errNotCUDA
}

// replyBuffer holds what the companion writes, up to maxReply bytes.
type replyBuffer struct {
	text    []byte
	tooLong bool
}

func (r *replyBuffer) Write(p []byte) (int, error) {
	if len(r.text)+len(p) > maxReply {
		r.tooLong = true
		return 0, errReplyTooLong // which ends the companion's output
	}
	r.text = append(r.text, p...)
	return len(p), nil
}

// queryCompanion returns the GPUs that the companion sees, at least one.
func queryCompanion(path string) ([]DeviceInfo, error) {
	timeout, cancel := context.WithTimeout(context.Background(), companionTimeout)
	defer cancel()
	ctx, stop := signal.NotifyContext(timeout, os.Interrupt, syscall.SIGTERM)
	defer stop()
	probe := exec.CommandContext(ctx, path, ProbeCommand)
	probe.WaitDelay = time.Second // for processes that it may have started
	var stdout, stderr replyBuffer
	probe.Stdout, probe.Stderr = &stdout, &stderr
	err := probe.Run()
	switch {
	case stdout.tooLong || stderr.tooLong:
		return nil, fmt.Errorf("%s: %w", companionName, errReplyTooLong)
	case timeout.Err() != nil:
		return nil, fmt.Errorf("%s: no reply within %v", companionName, companionTimeout)
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s: %w", companionName, ctx.Err())
	case err != nil:
		return nil, fmt.Errorf("%s does not start: %w%s", companionName, err, firstLine(stderr.text, stdout.text))
	}
	var reply probeReply
	if err := json.Unmarshal(stdout.text, &reply); err != nil {
		return nil, fmt.Errorf("%s: reply: %w", companionName, err)
	}
	if self := build.Commit(); reply.Commit != self && reply.Commit != "unknown" && self != "unknown" {
		return nil, errOtherBuild{reply.Commit, self}
	}
	if reply.Error != "" {
		return nil, fmt.Errorf("%s: %s", companionName, reply.Error)
	}
	if len(reply.GPUs) == 0 {
		return nil, errors.New("the driver finds no GPU")
	}
	return reply.GPUs, nil
}

// firstLine shows the first line that a program wrote before it failed: the dynamic
// loader and the CUDA driver explain there what is missing.
func firstLine(streams ...[]byte) string {
	for _, s := range streams {
		if line, _, _ := strings.Cut(strings.TrimSpace(string(s)), "\n"); line != "" {
			return ": " + line
		}
	}
	return ""
}
