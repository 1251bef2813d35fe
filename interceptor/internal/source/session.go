package source

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"capstan/interceptor/internal/remote"
	"capstan/pkg/capture"
	"capstan/pkg/rpcap/rpcapclient"
)

// session is one capture, from STARTCAP to its end.
type session struct {
	prepared
	source  *RPCAP
	stream  *rpcapclient.Stream
	changes chan *change
	ended   chan struct{} // closed when the stream has ended
	refused int           // requests for counters in a row that failed at once; owned by control

	// Set before the stream ends because of a change, read afterwards.
	next     *prepared
	pending  *change
	endingAt time.Time
}

// run yields frames until the stream ends. nil means that it ended since ctx
// was cancelled; any other end is a loss.
func (s *session) run(ctx context.Context, sink Sink) error {
	s.source.setCurrent(s)
	controlled := make(chan struct{})
	go func() { // ends with the stream, waited for below
		defer close(controlled)
		s.control(ctx)
	}()
	err := s.read(ctx, sink)
	s.source.setCurrent(nil)
	close(s.ended)
	<-controlled
	s.source.counters.endSession(s.stream.Stats())
	_ = s.stream.Close() // it is gone already or about to be
	if s.next == nil {
		s.source.hangUp(s.client)
	}
	if ctx.Err() != nil {
		s.abandonChange()
		return nil
	}
	return err
}

// abandonChange answers a change that was under way when the source had to end.
func (s *session) abandonChange() {
	if s.next != nil {
		s.source.hangUp(s.next.client) // nobody uses it
		s.pending.done <- changed{err: ErrNotCapturing}
	}
}

// read is the data channel's loop.
func (s *session) read(ctx context.Context, sink Sink) error {
	var f capture.Frame
	lastFrame := time.Now()
	var deadline time.Time
	buffered := false
	for {
		if !buffered {
			s.source.counters.setStream(s.stream.Stats())
			sink.Drained()
			if now := time.Now(); deadline.Sub(now) < idleInterval/2 {
				deadline = now.Add(idleInterval)
				_ = s.stream.SetReadDeadline(deadline) // a dead connection shows in Next
			}
		}
		err := s.stream.Next(&f)
		switch {
		case err == nil:
			sink.Frame(&f)
			if buffered = s.stream.Buffered(); !buffered {
				lastFrame = time.Now()
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			buffered, deadline = false, time.Time{}
			sink.Idle(time.Since(lastFrame))
		case err == io.EOF:
			return errors.New("the server ended the data connection")
		default:
			return err
		}
	}
}

// control asks for statistics each second, changes settings, and, once ctx is
// cancelled or other settings ask for it, ends the capture so that the stream
// comes to its end.
func (s *session) control(ctx context.Context) {
	ticker := time.NewTicker(statsInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.ended:
			return
		case <-ticker.C:
			s.poll(ctx)
		case <-s.source.refilter:
			s.updateFilter(ctx)
		case c := <-s.changes:
			if next := s.change(c); next != nil {
				s.next, s.pending, s.endingAt = next, c, time.Now()
				s.end()
				<-s.ended
				return
			}
		case <-ctx.Done():
			s.end()
			return
		}
	}
}

// updateFilter gives the running capture the filter that is wanted now.
func (s *session) updateFilter(ctx context.Context) {
	expression := s.source.filter.Load()
	filter, err := remote.Filter(s.linkType, remote.Both(s.parameter, *expression))
	if err == nil {
		err = s.client.UpdateFilter(ctx, filter)
	}
	log := s.source.cfg.Log.With("source", s.source.cfg.URL.String(), "filter", *expression)
	switch {
	case err == nil:
		s.expression = expression
		log.Info("filter replaced")
	case ctx.Err() == nil:
		s.source.filter.CompareAndSwap(expression, s.expression) // one that is refused must not end the next capture
		log.Warn("the filter is not replaced", "err", err)
	}
}

// poll takes the server's counters. A server that has gone shows in the
// stream's end; one that only doesn't answer is told as such, and so is one that
// keeps answering something else.
func (s *session) poll(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	stats, err := s.client.Stats(ctx)
	switch {
	case err == nil:
		s.refused = 0
		s.source.counters.setServer(stats)
		if s.source.counters.setSilent(false) {
			s.source.cfg.Log.Warn("the capture server answers again", "source", s.source.cfg.URL.String())
		}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		if s.source.counters.setSilent(true) {
			s.source.cfg.Log.Warn("the capture server doesn't answer", "source", s.source.cfg.URL.String())
		}
	case ctx.Err() == nil:
		if s.refused++; s.refused == 2 { // the first may be the session's end, which is told as such
			s.source.cfg.Log.Warn("the capture server's counters can't be had: what it drops is not known", "source", s.source.cfg.URL.String(), "reason", err.Error())
		}
	}
}

// end stops the capture, waits for the data still under way and takes the
// final counters.
func (s *session) end() {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	s.poll(ctx) // the reference forgets its counters at ENDCAP
	if err := s.client.EndCapture(ctx); err != nil {
		_ = s.stream.Close()
		return
	}
	select {
	case <-s.ended:
	case <-ctx.Done():
		_ = s.stream.Close()
		return
	}
	s.poll(ctx)
}
