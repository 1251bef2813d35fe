//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"capstan/pkg/pcapfilter"
	"capstan/pkg/sockfilter"
	"capstan/rpcapd/internal/config"
	"capstan/rpcapd/internal/daemon"
	"capstan/rpcapd/internal/device"
	"capstan/rpcapd/internal/launch"
	"capstan/rpcapd/internal/metrics"
	"capstan/rpcapd/internal/session"
)

// selfLinger is how long an own data connection stays excluded from captures
// after it has been closed: its last segments are still on their way.
const selfLinger = 2 * time.Second

// program wires the rooms.
type program struct {
	cfg    config.Config
	stdout io.Writer
	log    *slog.Logger
}

// run makes the daemon and serves until ctx ends or a signal comes. The order
// in which it constructs is the order of who needs whom; it tears down in
// reverse.
func (p *program) run(ctx context.Context) error {
	files := settingsFiles{load: p.cfg.LoadFile, save: p.cfg.SaveFile, log: p.log}
	files.start(&p.cfg.Settings)
	if p.cfg.TellHostAccess {
		tellHostAccess(p.log)
	}
	if err := capable(p.log); err != nil {
		return err
	}
	doors, err := openDoors(p.cfg, p.log)
	if err != nil {
		return err
	}
	defer doors.close()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	hangups := make(chan os.Signal, 1) // before anybody can know that this daemon runs
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	table, err := sockfilter.NewSelfTable()
	if err != nil {
		return fmt.Errorf("table of own connections: %w", err)
	}
	defer table.Close()
	self := device.NewEndpoints(table, selfLinger)
	defer self.Close()
	host := &device.Host{RingMiB: p.cfg.RingMiB, Self: table}
	d := daemon.New(p.cfg, sessionConfig(p.cfg, doors), host, self, p.log)
	if err := d.UseDataPort(ctx); err != nil {
		return err
	}
	if p.cfg.Inetd {
		conn, err := launch.Inetd()
		if err != nil {
			return err
		}
		d.ServeConn(ctx, conn)
		return nil
	}
	return p.serve(ctx, d, host, doors, files, hangups)
}

// serve listens, and serves whoever comes.
func (p *program) serve(ctx context.Context, d *daemon.Daemon, host *device.Host, doors *doors, files settingsFiles, hangups <-chan os.Signal) error {
	passed, err := launch.Listeners()
	if err != nil {
		return err
	}
	if err := d.Listen(ctx, passed); err != nil {
		return err
	}
	defer d.Close()
	var metricsListener net.Listener
	if p.cfg.MetricsAddress != "" {
		if metricsListener, err = net.Listen("tcp", p.cfg.MetricsAddress); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
		defer metricsListener.Close()
	}
	if p.cfg.PIDFile != "" {
		remove, err := launch.WritePID(p.cfg.PIDFile)
		if err != nil {
			return err
		}
		defer remove()
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.Serve(ctx) })
	group.Go(func() error { files.answerHangups(ctx, hangups, p.cfg.Settings, d.Apply, doors.reload); return nil })
	if metricsListener != nil {
		p.log.Info("serving metrics", "address", metricsListener.Addr().String())
		handler := metrics.Handler(metrics.NewRegistry(func() metrics.Snapshot {
			s := doors.count(d.Snapshot())
			s.Rings, s.RingBytes = host.Rings()
			return s
		}, version()))
		group.Go(func() error { return metrics.Serve(ctx, metricsListener, handler) })
	}
	fmt.Fprintln(p.stdout, "Press CTRL + C to stop the server...")
	group.Go(launch.Ready)
	err = group.Wait()
	fmt.Fprintln(p.stdout, summary(d.Snapshot()))
	return err
}

func sessionConfig(cfg config.Config, doors *doors) session.Config {
	c := session.Config{
		Timeouts: session.Timeouts{
			Initial: cfg.InitialTimeout, Idle: cfg.IdleTimeout, DataAccept: cfg.DataTimeout,
		},
		Access: doors.guard, Audit: doors.audit, CompileFilter: pcapfilter.Compile,
	}
	if doors.tls != nil {
		c.TLS = doors.tls.Config()
	}
	return c
}

// capable returns an error that tells how to let this process capture, if it
// may not.
func capable(log *slog.Logger) error {
	missing, err := device.MissingCapabilities()
	if err != nil || len(missing) == 0 {
		return err
	}
	if len(missing) == 1 && missing[0].Optional {
		log.Warn("filters are classic ones, since a capability is missing: fewer of them are judged in the kernel, and no frames of several interfaces or with VLAN tags;"+
			" device parameters that choose in the kernel are refused", "capability", missing[0].Capability)
		return nil
	}
	lacks := make([]string, len(missing))
	for i, m := range missing {
		lacks[i] = m.Capability + " (" + m.Purpose + ")"
	}
	return fmt.Errorf("missing: %s. Grant it by: setcap cap_net_raw,cap_bpf+ep on the program;"+
		" or AmbientCapabilities=CAP_NET_RAW CAP_BPF in its systemd unit;"+
		" or securityContext.capabilities.add: [NET_RAW, BPF] in Kubernetes", strings.Join(lacks, ", "))
}

func summary(s metrics.Snapshot) string {
	f := s.Frames
	return fmt.Sprintf("%d frames seen, %d matched, %d excluded, %d filtered, %d left out by sampling, %d dropped by the kernel, %d sent, %d undelivered; %d sessions",
		f.Seen, f.Matched, f.Excluded, f.Filtered, f.Sampled, f.Dropped, f.Sent, f.Undelivered, s.SessionsTotal)
}
