// Command bench shows and measures the pipeline: it drives the two binaries
// from outside, as a user would.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"capstan/bench/internal/demo"
	"capstan/bench/internal/pair"
)

func main() {
	// Children die with the thread that started them (Pdeathsig); the main
	// thread lives as long as the process.
	runtime.LockOSThread()
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	status := 0
	root := &cobra.Command{
		Use:           "bench",
		Short:         "Show and measure Capstan's pipeline",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.AddCommand(hostCommand(&status, stdout, stderr), demoCommand(&status, stdout, stderr))
	root.AddCommand(pipelineCommand(stdout), generateCommand(stdout, stderr), sinkCommand(os.Stdin, stdout, stderr), limitCommand(stderr))
	root.AddCommand(serverCommand(stdout, stderr), reportCommand(stdout), compareCommand(stdout))
	root.AddCommand(containCommands(&status, os.Stdin)...)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	if err := root.ExecuteContext(ctx); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "bench:", err)
		return max(status, 2)
	}
	return status
}

// binaries adds the flag that tells where the two binaries are.
func binaries(cmd *cobra.Command) func() (rpcapd, interceptor string) {
	dir := cmd.Flags().String("bin", defaultBin(), "directory of the binaries rpcapd and interceptor")
	return func() (string, string) {
		return filepath.Join(*dir, "rpcapd"), filepath.Join(*dir, "interceptor")
	}
}

// defaultBin is the directory of this very binary.
func defaultBin() string {
	self, err := os.Executable()
	if err != nil {
		return "bin"
	}
	return filepath.Dir(self)
}

func demoCommand(status *int, stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo [-- INTERCEPTOR-FLAG…]",
		Short: "Watch exchanges of a service that the demo itself runs, in network namespaces of its own",
	}
	bin := binaries(cmd)
	interval := cmd.Flags().Duration("interval", 300*time.Millisecond, "time between two requests")
	duration := cmd.Flags().Duration("duration", 0, "stop after this time; 0 = at Ctrl-C")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		ctx := cmd.Context()
		if *duration > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, *duration)
			defer cancel()
		}
		rpcapd, interceptor := bin()
		fmt.Fprintln(stderr, "demo: a client asks a small shop's API over a cable between two namespaces; Ctrl-C ends it")
		*status, err = demo.Run(ctx, demo.Config{
			Rpcapd: rpcapd, Interceptor: interceptor, InterceptorArgs: args, Interval: *interval,
			Stdout: stdout, Stderr: stderr,
		})
		return err
	}
	return cmd
}

func hostCommand(status *int, stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "host [-- INTERCEPTOR-FLAG…]",
		Short: "Run rpcapd and an interceptor on all interfaces of this host",
	}
	bin := binaries(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		dir, err := os.MkdirTemp("", "capstan-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		socket := filepath.Join(dir, "rpcapd.sock")
		rpcapd, interceptor := bin()
		*status, err = pair.Run(cmd.Context(), pair.Config{
			Rpcapd:          rpcapd,
			RpcapdArgs:      []string{"--unix-socket", socket},
			Interceptor:     interceptor,
			Source:          "rpcap+unix://" + url.PathEscape(socket) + "/any",
			InterceptorArgs: args,
			Start:           (*exec.Cmd).Start,
			Stdout:          stdout,
			Stderr:          stderr,
		})
		return err
	}
	return cmd
}
