//go:build linux

package trial

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"capstan/bench/internal/contain"
	"capstan/bench/internal/server"
	"capstan/bench/internal/sink"
	"capstan/bench/internal/wire"
)

// send runs the generator and waits for its end.
func (t *run) send(ctx context.Context) error {
	l := &t.load
	argv := []string{
		t.cfg.Self, "generate", "-i", ifname, "--json", "--kind", l.Kind.String(), "--size", l.Size.String(), "--flows", strconv.Itoa(max(l.Flows, 1)),
		"--rate", strconv.FormatFloat(l.Rate, 'f', -1, 64), "--burst", strconv.Itoa(l.Burst), "--duration", l.Duration.String(),
		"--count", strconv.FormatUint(l.Count, 10),
	}
	argv = append(argv, vlanFlags(l.VLAN)...)
	cmd := contain.ExecCommand(t.cfg.Self, t.cfg.GeneratorCPUs, argv)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := t.lab.generator.Start(cmd); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Kill() }) // fails if it has ended
	defer stop()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("generator: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	t.spent = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	var report wire.Report
	if err := json.Unmarshal(stdout.Bytes(), &report); err != nil {
		return fmt.Errorf("generator: %w", err)
	}
	if report.Result == nil {
		return errors.New("generator: no result")
	}
	t.result.Offered, t.result.OfferedRate = report.Result.Frames, report.Result.Rate
	return nil
}

// vlanFlags are those of the generator and of the sink.
func vlanFlags(ids []uint16) (argv []string) {
	for _, id := range ids {
		argv = append(argv, "--vlan", strconv.Itoa(int(id)))
	}
	return argv
}

// child is a process with a conversation.
type child struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    io.Reader
	stderr bytes.Buffer // complete when it has ended
}

func (t *run) startSink(transport server.Transport) (*child, error) {
	argv := []string{t.cfg.Self, "sink", "--obey", "--read-timeout", t.cfg.ReadTimeout.String()}
	argv = append(argv, vlanFlags(t.load.VLAN)...)
	switch transport {
	case server.UDP:
		argv = append(argv, "--udp")
	case server.TLS:
		argv = append(argv, "--ca", t.server.Certificate())
	}
	c := &child{cmd: contain.ExecCommand(t.cfg.Self, t.cfg.ServerCPUs, append(argv, t.server.URL().String()))}
	c.cmd.Stderr = &c.stderr
	var err error
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if c.out, err = c.cmd.StdoutPipe(); err != nil {
		return nil, err
	}
	return c, t.lab.server.Start(c.cmd)
}

// stop ends the child: the end of its input tells it to, and if that doesn't
// help within a while it is killed.
func (c *child) stop() error {
	_ = c.in.Close() // fails if it has ended
	timer := time.AfterFunc(sink.SettleLimit, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("sink: %w: %s", err, strings.TrimSpace(c.stderr.String()))
	}
	return nil
}

// errors returns what a child that has ended by itself said.
func (c *child) errors() string {
	_, _ = io.Copy(io.Discard, c.out)
	return strings.TrimSpace(c.stderr.String())
}
