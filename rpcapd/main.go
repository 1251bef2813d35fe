//go:build linux

// Command rpcapd serves the interfaces of this host to clients of libpcap's
// remote capture protocol.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"capstan/rpcapd/internal/config"
	"capstan/rpcapd/internal/doctor"
	"capstan/rpcapd/internal/hashpassword"
	"capstan/rpcapd/internal/health"
	"capstan/rpcapd/internal/launch"
	"capstan/rpcapd/internal/logging"
)

// Exit codes, as the usage text tells them.
const (
	exitDone   = 0
	exitUsage  = 1
	exitFailed = 2
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// run is main without globals.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		switch args[0] {
		case "health":
			return health.Run(ctx, args[1:], stdout, stderr)
		case "doctor":
			return doctor.Run(args[1:], stdout, stderr)
		case "hash-password":
			return hashpassword.Run(args[1:], os.Stdin, stdout, stderr)
		}
	}
	cfg, err := config.Parse(args)
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "rpcapd: %v\n", err)
		return exitUsage
	case cfg.Help:
		fmt.Fprint(stdout, config.Usage)
		return exitDone
	case cfg.Version:
		fmt.Fprintf(stdout, "rpcapd %s\n", version())
		return exitDone
	case cfg.Daemonize && !launch.InBackground():
		status, err := launch.Background(args, stderr)
		if err != nil {
			fmt.Fprintf(stderr, "rpcapd: %v\n", err)
			return exitFailed
		}
		return status
	}
	log := newLogger(cfg, stderr)
	for _, text := range cfg.Warnings {
		log.Warn(text)
	}
	if err := (&program{cfg: cfg, stdout: stdout, log: log}).run(ctx); err != nil {
		log.Error(err.Error())
		if cfg.Daemonize { // the log is elsewhere; who has started us may still be there
			fmt.Fprintf(stderr, "rpcapd: error: %v\n", err)
		}
		return exitFailed
	}
	return exitDone
}

// newLogger returns a logger to the system's log with -d and -i, as the
// reference does, or else to standard error. Where there is no system log,
// nothing is logged with -i: standard error is the client's connection.
func newLogger(cfg config.Config, stderr io.Writer) *slog.Logger {
	if !cfg.Daemonize && !cfg.Inetd {
		return logging.New(stderr, cfg.LogFormat, cfg.Debug)
	}
	log, err := logging.NewSystem(cfg.Debug)
	switch {
	case err == nil:
		return log
	case cfg.Inetd:
		return slog.New(slog.DiscardHandler)
	}
	return logging.New(stderr, cfg.LogFormat, cfg.Debug)
}

// version is what the build recorded: the module's version, or the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && info.Main.Version == "(devel)" {
			return s.Value
		}
	}
	return info.Main.Version
}
