// Command mop prunes LLaMA models, runs them, and measures their quality and latency.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"mop/internal/files"
	"mop/runtime/config"
	"mop/runtime/engine"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

// errUsage marks a wrong command line: exit status 2 instead of 1.
var errUsage = errors.New("usage")

// errResume says how to continue a command that was interrupted.
var errResume = errors.New("the same command with --resume continues")

// resumable adds errResume to the error of an interrupted command that has --resume.
func resumable(err error) error {
	if !errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", err, errResume)
}

// errRepeat says how to continue a command that was interrupted.
var errRepeat = errors.New("the same command continues")

// repeatable adds errRepeat to the error of an interrupted command that goes on where it was.
func repeatable(err error) error {
	if !errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", err, errRepeat)
}

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, args...))
}

// run returns the exit status: 0, 1 for a failure, 2 for a wrong command line, 3 where the
// device of a server failed, so that a supervisor can tell.
func run(ctx context.Context, args []string) int {
	root := newRoot()
	out := &output{file: os.Stdout}
	root.SetOut(out)
	root.SetArgs(args)
	err := execute(ctx, root)
	if err == nil {
		err = out.err
	}
	if err == nil {
		return 0
	}
	if cause := err; ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
		for _, how := range []error{errResume, errRepeat} {
			if errors.Is(cause, how) {
				err = fmt.Errorf("interrupted: %w", how)
			}
		}
	}
	// Joined errors have a line each.
	fmt.Fprintln(os.Stderr, "mop:", strings.ReplaceAll(err.Error(), "\n", "; "))
	if preset := (config.UnknownPresetError{}); errors.Is(err, errUsage) || errors.As(err, &preset) || strings.HasPrefix(err.Error(), "unknown command") { // the latter is cobra's own
		return 2
	}
	if errors.Is(err, engine.ErrDevice) {
		return 3
	}
	return 1
}

// execute runs the command. A mapped file that cannot be read any more becomes an
// ordinary error.
func execute(ctx context.Context, root *cobra.Command) (err error) {
	defer files.Guard()()
	defer files.Catch(&err)
	return root.ExecuteContext(ctx)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "mop",
		Short:         "Prune LLaMA models, and measure quality and latency",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("unknown command %q: see mop --help", args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%v", err) })
	o := &options{}
	o.register(root)
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return o.check() }
	root.AddCommand(logitsCommand(o), runCommand(o), pruneCommand(o), evalCommand(o), benchCommand(o), recoverCommand(o), demoCommand(o), serveCommand(o), probeCommand())
	root.AddCommand(compareCommand(o), sweepCommand(o), searchCommand(o), validateCommand(o))
	for _, c := range []*cobra.Command{inspectCommand(o), tokenizeCommand(o), planCommand(o), importCommand(o), exportCommand(o), initCommand(o)} {
		root.AddCommand(o.hostOnly(c))
	}
	return root
}

// exactly refuses any number of arguments but n.
func exactly(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usage("%s: want %d arguments, got %q", c.CommandPath(), n, args)
		}
		return nil
	}
}

// oneOf is the action of a command that only has subcommands: it says which there are.
func oneOf(kinds string) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		got := "nothing"
		if len(args) > 0 {
			got = strconv.Quote(args[0])
		}
		return usage("%s: want %s, got %s", c.CommandPath(), kinds, got)
	}
}
