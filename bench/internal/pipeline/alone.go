package pipeline

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"capstan/bench/internal/cpu"
	"capstan/bench/internal/pair"
	"capstan/bench/internal/sink"
	"capstan/pkg/rpcap"
)

// readTimeout is what the interceptor asks servers for.
const readTimeout = 50 * time.Millisecond

// maxFile bounds the frames in the file, which is to stay in memory.
const maxFile = 300_000

// alone measures each process without the other.
func (b *bed) alone(ctx context.Context, live *Live) (*Alone, error) {
	perExchange := float64(live.Frames) / float64(live.Exchanges)
	server, frames, err := b.serverAlone(ctx)
	if err != nil {
		return nil, fmt.Errorf("rpcapd alone: %w", err)
	}
	interceptor, exchanges, err := b.interceptorAlone(ctx, min(live.Frames, maxFile))
	if err != nil {
		return nil, fmt.Errorf("interceptor alone: %w", err)
	}
	return &Alone{
		Rpcapd:      time.Duration(float64(server) / float64(frames) * perExchange),
		Interceptor: each(interceptor, exchanges),
	}, nil
}

// serverAlone returns what rpcapd takes for so many frames if they are dropped as
// they come.
func (b *bed) serverAlone(ctx context.Context) (took time.Duration, frames uint64, err error) {
	u, err := rpcap.ParseURL(b.source())
	if err != nil {
		return 0, 0, err
	}
	said := newWords("", 0)
	var server *exec.Cmd
	var start time.Duration
	_, err = pair.Run(ctx, pair.Config{
		Rpcapd: b.Rpcapd, RpcapdArgs: b.rpcapdArgs(),
		Instead: func(ctx context.Context) error {
			s, err := sink.Open(ctx, sink.Config{URL: u, ReadTimeout: readTimeout, Promiscuous: true, Verify: sink.VerifyNone})
			if err != nil {
				return err
			}
			defer s.Close()
			if start, err = cpu.Clock(server.Process.Pid); err != nil {
				return err
			}
			if err := b.send(ctx, closed, nil); err != nil {
				return err
			}
			s.Settle(ctx, sink.QuietFor(readTimeout))
			frames = s.End(ctx).Frames
			return nil
		},
		Start: func(cmd *exec.Cmd) error {
			server = cmd
			return b.server.Start(cmd)
		},
		Stderr: said,
	})
	switch {
	case err != nil:
		return 0, 0, fmt.Errorf("%w\n%s", err, said.String())
	case frames == 0:
		return 0, 0, fmt.Errorf("no frame arrived\n%s", said.String())
	}
	return spent(server) - start, frames, nil
}

// closed is a channel that is.
var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// interceptorAlone returns what the interceptor takes for the exchanges of so many
// frames beyond those of the connections that begin together.
func (b *bed) interceptorAlone(ctx context.Context, frames uint64) (took time.Duration, exchanges uint64, err error) {
	start, first, err := b.readFile(ctx, 1)
	if err != nil {
		return 0, 0, err
	}
	took, exchanges, err = b.readFile(ctx, frames)
	return took - start, exchanges - first, err
}

// readFile returns what the interceptor takes for so many frames of a file that was
// just written, from its start to its end.
func (b *bed) readFile(ctx context.Context, frames uint64) (took time.Duration, exchanges uint64, err error) {
	file := b.path("frames.pcapng")
	defer os.Remove(file)
	args := append(b.traffic(), "-w", file, "--count", strconv.FormatUint(frames, 10))
	if out, err := exec.CommandContext(ctx, b.Self, args...).CombinedOutput(); err != nil {
		return 0, 0, fmt.Errorf("generator: %w: %s", err, out)
	}
	cmd := exec.CommandContext(ctx, b.Interceptor, "read", "--output", "none", "--ledger", "--shards", strconv.Itoa(b.Shards), file)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("%w: %s", err, out)
	}
	if exchanges = total(string(out), "exchanges"); exchanges == 0 {
		return 0, 0, fmt.Errorf("nothing was told\n%s", out)
	}
	return spent(cmd), exchanges, nil
}
