//go:build linux

// Command rpcapd serves the interfaces of this host to clients of libpcap's
// remote capture protocol.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"capstan/pkg/sockfilter"
	"capstan/rpcapd/internal/config"
	"capstan/rpcapd/internal/daemon"
	"capstan/rpcapd/internal/device"
	"capstan/rpcapd/internal/logging"
	"capstan/rpcapd/internal/metrics"
	"capstan/rpcapd/internal/session"
)

// Exit codes, as the usage text tells them.
const (
	exitDone   = 0
	exitUsage  = 1
	exitFailed = 2
)

// selfLinger is how long an own data connection stays excluded from captures
// after it has been closed: its last segments are still on their way.
const selfLinger = 2 * time.Second

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

// run is main without globals. The order in which it constructs is the order
// of who needs whom; it tears down in reverse.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
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
	}
	log := logging.New(stderr, cfg.LogFormat, cfg.Debug)
	for _, text := range cfg.Warnings {
		log.Warn(text)
	}
	if cfg.TLS || cfg.Inetd || cfg.Daemonize || cfg.DataPort != "" {
		log.Error("-S, -i, -d and -t are not supported by this server yet")
		return exitFailed
	}
	files := settingsFiles{load: cfg.LoadFile, save: cfg.SaveFile, log: log}
	files.start(&cfg.Settings)
	if !capable(stderr) {
		return exitFailed
	}
	fail := func(err error) int {
		log.Error(err.Error())
		return exitFailed
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	hangups := make(chan os.Signal, 1) // before anybody can know that this daemon runs
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	table, err := sockfilter.NewSelfTable()
	if err != nil {
		return fail(fmt.Errorf("table of own connections: %w", err))
	}
	defer table.Close()
	self := device.NewEndpoints(table, selfLinger)
	defer self.Close()
	d := daemon.New(cfg, sessionConfig(cfg), &device.Host{RingMiB: cfg.RingMiB, Self: table}, self, log)
	var metricsListener net.Listener
	if cfg.MetricsAddress != "" {
		if metricsListener, err = net.Listen("tcp", cfg.MetricsAddress); err != nil {
			return fail(fmt.Errorf("metrics: %w", err))
		}
		defer metricsListener.Close()
	}
	if err := d.Listen(ctx); err != nil {
		return fail(err)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { files.answerHangups(ctx, hangups, cfg.Settings, d.Apply); return nil })
	group.Go(func() error { return d.Serve(ctx) })
	if metricsListener != nil {
		log.Info("serving metrics", "address", metricsListener.Addr().String())
		handler := metrics.Handler(metrics.NewRegistry(d.Snapshot, version()))
		group.Go(func() error { return metrics.Serve(ctx, metricsListener, handler) })
	}
	fmt.Fprintln(stdout, "Press CTRL + C to stop the server...")
	err = group.Wait()
	fmt.Fprintln(stdout, summary(d.Snapshot()))
	if err != nil {
		return fail(err)
	}
	return exitDone
}

func sessionConfig(cfg config.Config) session.Config {
	return session.Config{Timeouts: session.Timeouts{
		Initial: cfg.InitialTimeout, Idle: cfg.IdleTimeout, DataAccept: cfg.DataTimeout,
	}}
}

// capable reports whether the process may capture, and otherwise tells how to
// let it.
func capable(stderr io.Writer) bool {
	missing, err := device.MissingCapabilities()
	if err != nil {
		fmt.Fprintf(stderr, "rpcapd: %v\n", err)
		return false
	}
	if len(missing) == 0 {
		return true
	}
	lacks := make([]string, len(missing))
	for i, m := range missing {
		lacks[i] = m.Capability + " (" + m.Purpose + ")"
	}
	fmt.Fprintf(stderr, "rpcapd: missing: %s. Grant it by: setcap cap_net_raw,cap_bpf+ep on the program;"+
		" or AmbientCapabilities=CAP_NET_RAW CAP_BPF in its systemd unit;"+
		" or securityContext.capabilities.add: [NET_RAW, BPF] in Kubernetes\n", strings.Join(lacks, ", "))
	return false
}

func summary(s metrics.Snapshot) string {
	f := s.Frames
	return fmt.Sprintf("%d frames seen, %d matched, %d excluded, %d filtered, %d left out by sampling, %d dropped by the kernel, %d sent, %d undelivered; %d sessions",
		f.Seen, f.Matched, f.Excluded, f.Filtered, f.Sampled, f.Dropped, f.Sent, f.Undelivered, s.SessionsTotal)
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
