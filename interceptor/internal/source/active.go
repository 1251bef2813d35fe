package source

import (
	"context"
	"errors"
	"sync"

	"capstan/pkg/rpcap/rpcapclient"
)

// maxPeers is how many daemons in active mode are spoken to at a time. Others wait in the
// kernel's queue meanwhile, and one that says nothing gives way to them.
const maxPeers = 16

// accept returns a session with the first daemon that connects and authenticates.
// Strangers are no attempts of the server: they are counted, whether they come from
// elsewhere or say nothing, and others are spoken to at the same time. What the server
// refuses for good is the error.
func (s *RPCAP) accept(ctx context.Context) (*rpcapclient.Client, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		client *rpcapclient.Client
		err    error
	}
	answers := make(chan answer, maxPeers)
	var peers sync.WaitGroup
	for range maxPeers {
		peers.Go(func() { // ends with the first answer
			c, err := s.acceptOne(ctx)
			answers <- answer{c, err}
			cancel()
		})
	}
	first := <-answers
	peers.Wait()
	close(answers)
	for other := range answers {
		switch {
		case other.client == nil:
		case first.client == nil:
			first = other
		default:
			s.hangUp(other.client) // it shall connect again
		}
	}
	return first.client, first.err
}

// acceptOne returns the next daemon that authenticates, an answer that is final,
// or after ctx the last error of a daemon, if there was one.
func (s *RPCAP) acceptOne(ctx context.Context) (*rpcapclient.Client, error) {
	var last error
	for {
		c, err := s.cfg.Listener.Accept(ctx)
		var peer *rpcapclient.PeerError
		switch {
		case errors.Is(err, rpcapclient.ErrNotAllowed): // also when ctx is over meanwhile
			s.refuse(err)
			continue
		case err == nil, final(err):
			return c, err
		case ctx.Err() != nil && last != nil:
			return nil, last
		case ctx.Err() != nil, !errors.As(err, &peer):
			return nil, err
		}
		s.refuse(err)
		if last = err; !wait(ctx, minBackOff) { // lest one that hangs up at once keeps us busy
			return nil, last
		}
	}
}

// refuse counts and tells a daemon that was refused.
func (s *RPCAP) refuse(err error) {
	s.counters.refused()
	s.cfg.Log.Warn("a daemon that is not the source's was refused", "source", s.cfg.URL.String(), "reason", err.Error())
}
