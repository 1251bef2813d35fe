package source

import (
	"context"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pausing is a pipe, or what else lets its reader wait, which tells a sink before it
// does. Reading ends with ctx, though nothing comes.
type pausing struct {
	*os.File
	ctx  context.Context
	sink Sink
}

// withPauses returns in, but if it is a file other than a regular one, which never lets
// its reader wait, as one that tells sink of its pauses.
func withPauses(ctx context.Context, in io.Reader, sink Sink) io.Reader {
	f, ok := in.(*os.File)
	if !ok || isRegular(in) {
		return in
	}
	return &pausing{f, ctx, sink}
}

// Read implements io.Reader.
func (p *pausing) Read(b []byte) (int, error) {
	ready, err := p.readable(0)
	if !ready {
		p.sink.Drained()
		if ready, err = p.readable(idleInterval); !ready {
			p.sink.Idle(0)
		}
	}
	for !ready && err == nil {
		if p.ctx.Err() != nil {
			return 0, context.Cause(p.ctx)
		}
		ready, err = p.readable(idleInterval)
	}
	return p.File.Read(b) // which tells what is wrong with the file
}

// readable waits, for at most d, until there is something to read or the end is
// reached. An error means that this can't be told.
func (p *pausing) readable(d time.Duration) (bool, error) {
	conn, err := p.SyscallConn()
	if err != nil {
		return false, err
	}
	ready, polled := 0, error(unix.EINTR)
	deadline := time.Now().Add(d)
	err = conn.Control(func(fd uintptr) {
		for polled == unix.EINTR {
			ready, polled = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(max(time.Until(deadline), 0).Milliseconds()))
		}
	})
	if err == nil {
		err = polled
	}
	return err == nil && ready > 0, err
}
