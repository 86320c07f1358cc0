// Command mop makes LLaMA models smaller and measures that they got faster.
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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

// errUsage marks what the user typed wrong: exit 2 instead of 1.
var errUsage = errors.New("usage")

// errResume says how to go on with what was interrupted.
var errResume = errors.New("the same command with --resume goes on")

// resumable marks the error of a command that has --resume.
func resumable(err error) error {
	if !errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", err, errResume)
}

func usage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, args...))
}

// run gives the exit status: 0, 1 for failure, 2 for wrong usage.
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
		if err = errors.New("interrupted"); errors.Is(cause, errResume) {
			err = fmt.Errorf("interrupted: %w", errResume)
		}
	}
	// Joined errors stand on a line each.
	fmt.Fprintln(os.Stderr, "mop:", strings.ReplaceAll(err.Error(), "\n", "; "))
	if errors.Is(err, errUsage) || strings.HasPrefix(err.Error(), "unknown command") { // the latter is cobra's own
		return 2
	}
	return 1
}

// execute runs the command; a mapped file that cannot be read any more is an error
// like others.
func execute(ctx context.Context, root *cobra.Command) (err error) {
	defer files.Guard()()
	defer files.Catch(&err)
	return root.ExecuteContext(ctx)
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "mop",
		Short:         "Make LLaMA models smaller, and measure that they got faster",
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
	root.AddCommand(logitsCommand(o), runCommand(o), pruneCommand(o), evalCommand(o), benchCommand(o), recoverCommand(o), demoCommand(o))
	for _, c := range []*cobra.Command{inspectCommand(o), tokenizeCommand(o), planCommand(o), importCommand(o), initCommand(o)} {
		root.AddCommand(o.onHost(c))
	}
	return root
}

// exactly wants n arguments besides the flags.
func exactly(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usage("%s: want %d arguments, got %q", c.CommandPath(), n, args)
		}
		return nil
	}
}

// oneOf is what a command does that wants one of its own commands.
func oneOf(kinds string) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		got := "nothing"
		if len(args) > 0 {
			got = strconv.Quote(args[0])
		}
		return usage("%s: want %s, got %s", c.CommandPath(), kinds, got)
	}
}
