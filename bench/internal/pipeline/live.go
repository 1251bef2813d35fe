package pipeline

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"capstan/bench/internal/cpu"
	"capstan/bench/internal/pair"
)

func (b *bed) socket() string { return b.path("rpcapd") }

func (b *bed) source() string { return "rpcap+unix://" + url.PathEscape(b.socket()) + "/" + ifname }

func (b *bed) rpcapdArgs() []string {
	return []string{"--unix-socket", b.socket(), "--ring-size", "64"}
}

// live measures both processes.
func (b *bed) live(ctx context.Context, name string, l *Live) (err error) {
	out, err := b.outlet(ctx, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.close()) }()
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer nowhere.Close()
	args := append([]string{"--status-interval", "0", "--shards", strconv.Itoa(b.Shards)}, out.args...)
	if b.Stages {
		args = append(args, "--metrics-address", "unix:"+b.path("metrics"), "--pprof")
	}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	said := newWords("msg=capturing", b.Shards)
	var sent, profiled error
	var working sync.WaitGroup
	var processes []*exec.Cmd // all there once said.heard is closed
	working.Go(func() {
		defer cancel() // the pair takes what is under way
		sent = b.send(ctx, said.heard, func(ctx context.Context) error {
			if out.ready != nil {
				if err := out.ready(ctx); err != nil {
					return err
				}
			}
			return l.begin(processes)
		})
	})
	if b.Stages {
		working.Go(func() { l.Stages, profiled = b.profile(ctx, said.heard) })
	}
	_, err = pair.Run(ctx, pair.Config{
		Rpcapd: b.Rpcapd, RpcapdArgs: b.rpcapdArgs(),
		Interceptor: b.Interceptor, Source: b.source(), InterceptorArgs: args,
		Start: func(cmd *exec.Cmd) error {
			processes = append(processes, cmd)
			return b.server.Start(cmd)
		},
		Stdout: nowhere, Stderr: said,
	})
	cancel()
	working.Wait()
	if err = errors.Join(err, sent, profiled); err != nil {
		return fmt.Errorf("%w\n%s", err, said.String())
	}
	l.Outlet, l.Rpcapd, l.Interceptor = name, spent(processes[0])-l.RpcapdStart, spent(processes[1])-l.InterceptorStart
	return l.count(said.String())
}

// begin takes what the two processes have spent before the first frame.
func (l *Live) begin(processes []*exec.Cmd) (err error) {
	if l.RpcapdStart, err = cpu.Clock(processes[0].Process.Pid); err != nil {
		return err
	}
	l.InterceptorStart, err = cpu.Clock(processes[1].Process.Pid)
	return err
}

// count takes the counters out of what the interceptor said in the end.
func (l *Live) count(text string) error {
	l.Frames, l.Exchanges, l.Complete = total(text, `frames arrived \(.*\)`), total(text, "exchanges"), total(text, "complete")
	l.RingLost = total(text, "lost in its ring")
	if l.Exchanges == 0 || l.Frames == 0 {
		return fmt.Errorf("nothing was told\n%s", text)
	}
	return nil
}

// send lets the generator send once all is captured and the outlet ready.
func (b *bed) send(ctx context.Context, capturing <-chan struct{}, ready func(context.Context) error) error {
	select {
	case <-capturing:
	case <-ctx.Done():
		return nil // the pair tells why
	}
	if ready != nil {
		if err := ready(ctx); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, b.Self, append(b.traffic(), "-i", ifname, "--duration", b.Duration.String())...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := b.generator.Start(cmd); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("generator: %w: %s", err, stderr.String())
	}
	return nil
}

func spent(cmd *exec.Cmd) time.Duration {
	return cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
}
