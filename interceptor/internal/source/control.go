package source

import (
	"context"
	"errors"
	"fmt"
	"time"

	"capstan/interceptor/internal/remote"
	"capstan/pkg/capture"
	"capstan/pkg/pcapfilter"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcapclient"
)

// Settings are what can be changed while a source runs.
type Settings struct {
	Device string // with its parameters, see [rpcap.ParseDevice]
	Filter string // a filter expression that frames must satisfy besides the device's; empty: all
}

// ErrNotCapturing is why settings can't be changed now.
var ErrNotCapturing = errors.New("the source is not capturing now")

// errNoParameters is why settings can't be had: a server that captures all of the
// device is not asked to by whoever names a part of it.
var errNoParameters = errors.New("the capture server knows no device parameters, and so no share of connections")

// SettingsError is settings that can't be used. The old ones are still in force.
type SettingsError struct{ Err error }

// Error tells the cause.
func (e *SettingsError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *SettingsError) Unwrap() error { return e.Err }

// change is a request to a running session. Who answers it sends to done once.
type change struct {
	ctx  context.Context
	to   Settings
	done chan changed
}

type changed struct {
	interruption time.Duration
	err          error
}

// Settings returns those in force. Any goroutine may call it.
func (s *RPCAP) Settings() Settings {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil {
		return Settings{Device: s.current.device, Filter: *s.filter.Load()}
	}
	return Settings{Device: s.device, Filter: *s.filter.Load()}
}

// wanted returns what the next capture is to begin with.
func (s *RPCAP) wanted() (device string, expression *string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.device, s.filter.Load()
}

// Set changes the settings, and tells for how long nothing was captured. A filter
// is replaced in the running capture, without interruption. Another device is
// opened while the capture runs, so that what is wrong with it shows before
// anything is interrupted; then that ends, and another one begins in the same
// session with the server. Any goroutine may call it. The error is a [*SettingsError] if
// the settings are at fault.
func (s *RPCAP) Set(ctx context.Context, to Settings) (interruption time.Duration, err error) {
	if _, err := rpcap.ParseDevice(to.Device); err != nil {
		return 0, &SettingsError{err}
	}
	// Alone, before it may become a part of another.
	if err := remote.CheckFilter(to.Filter); err != nil {
		return 0, &SettingsError{err}
	}
	s.mu.Lock()
	sess := s.current
	s.mu.Unlock()
	switch {
	case sess == nil:
		return 0, ErrNotCapturing
	case s.Settings() == to:
		return 0, nil
	}
	c := &change{ctx: ctx, to: to, done: make(chan changed, 1)}
	select {
	case sess.changes <- c:
	case <-sess.ended:
		return 0, ErrNotCapturing
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	// Whoever took it answers, however ctx ends: half a change can't be left.
	done := <-c.done
	return done.interruption, done.err
}

// Interfaces asks the server what it offers to capture from: on a connection of
// its own, but in active mode, where the server connects, in the session that
// captures. Any goroutine may call it.
func (s *RPCAP) Interfaces(ctx context.Context) ([]rpcap.Interface, error) {
	if s.cfg.Listener != nil {
		s.mu.Lock()
		sess := s.current
		s.mu.Unlock()
		if sess == nil {
			return nil, ErrNotCapturing
		}
		return sess.client.Interfaces(ctx)
	}
	client, err := rpcapclient.Dial(ctx, s.cfg.URL, s.cfg.Client)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Interfaces(ctx)
}

func (s *RPCAP) setCurrent(sess *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = sess
}

func (s *RPCAP) setDevice(device string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.device = device
}

// prepared is a device that is open, and not captured from yet.
type prepared struct {
	client   *rpcapclient.Client
	linkType capture.LinkType
	// parameter is the filter of the device's parameters, if the server knows
	// none and it has to be the client's.
	parameter  string
	asked      string              // the device, as it was asked for
	device     string              // as it is captured: if the server knows no parameters, with none but the filter
	expression *string             // the client's filter
	program    []rpcap.Instruction // both filters, compiled
}

// prepare connects and opens the device.
func (s *RPCAP) prepare(ctx context.Context, device string, expression *string) (_ *prepared, err error) {
	client, err := s.client(ctx)
	if err != nil {
		return nil, err
	}
	p, err := s.prepareWith(ctx, client, device, expression)
	if err != nil {
		s.hangUp(client)
	}
	return p, err
}

// prepareWith opens the device in a session that there is.
func (s *RPCAP) prepareWith(ctx context.Context, client *rpcapclient.Client, device string, expression *string) (_ *prepared, err error) {
	p := &prepared{client: client, asked: device, device: device, expression: expression}
	linkType, knows, err := s.openDevice(ctx, client, device)
	if err != nil {
		return nil, err
	}
	if p.linkType = linkType; !knows {
		d, err := rpcap.ParseDevice(device)
		if err != nil {
			return nil, err
		}
		p.parameter, p.device = d.Filter, rpcap.Device{Name: d.Name, Filter: d.Filter}.String()
	}
	p.program, err = remote.Filter(p.linkType, remote.Both(p.parameter, *expression))
	return p, err
}

// start starts the capture.
func (s *RPCAP) start(ctx context.Context, p *prepared) (*session, error) {
	if sampling := s.cfg.Sampling; sampling.Method != rpcap.SamplingNone {
		if err := p.client.SetSampling(ctx, sampling.Method, sampling.Value); err != nil {
			s.hangUp(p.client)
			return nil, err
		}
	}
	stream, err := p.client.Start(ctx, rpcapclient.StartRequest{
		SnapLen: s.cfg.SnapLen, ReadTimeout: readTimeout, Promiscuous: s.cfg.Promiscuous, Filter: p.program, Transport: s.cfg.Transport,
	})
	if err != nil {
		s.hangUp(p.client)
		return nil, err
	}
	return &session{source: s, prepared: *p, stream: stream, changes: make(chan *change), ended: make(chan struct{})}, nil
}

// change carries c out. If the capture has to end for it, it returns what is to
// follow and leaves c to be answered then.
func (s *session) change(c *change) (next *prepared) {
	ctx, cancel := context.WithTimeout(c.ctx, endTimeout)
	defer cancel()
	if c.to.Device != s.device {
		next, err := s.source.prepareWith(ctx, s.client, c.to.Device, &c.to.Filter)
		if err == nil && next.device != c.to.Device {
			err = &SettingsError{errNoParameters}
		}
		if err != nil {
			c.done <- changed{err: settingsError(err)}
			return nil
		}
		return next
	}
	filter, err := remote.Filter(s.linkType, remote.Both(s.parameter, c.to.Filter))
	if err == nil {
		if err = s.client.UpdateFilter(ctx, filter); err == nil {
			s.expression = &c.to.Filter
			s.source.filter.Store(s.expression)
		}
	}
	c.done <- changed{err: settingsError(err)}
	return nil
}

// settingsError tells errors that are the settings' fault from others.
func settingsError(err error) error {
	var filter *pcapfilter.Error
	var refused *rpcap.RemoteError
	if errors.As(err, &filter) || errors.As(err, &refused) {
		return &SettingsError{err}
	}
	return err
}

// follow starts what a change has prepared, after the capture before it has
// ended. Without success it tells who asked and returns nil.
func (s *RPCAP) follow(ctx context.Context, last *session, sink Sink) *session {
	endedAt := time.Now()
	s.counters.lost(endedAt, "the settings were changed")
	sink.Lost()
	ctx, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	sess, err := s.start(ctx, last.next)
	if err != nil {
		last.pending.done <- changed{err: fmt.Errorf("start with the new settings, the old ones are taken again: %w", settingsError(err))}
		return nil
	}
	s.setDevice(sess.asked)
	s.filter.Store(sess.expression)
	now := time.Now()
	s.counters.regained(now)
	s.cfg.Log.Info("capturing with other settings; what passed in between was not seen", "source", s.cfg.URL.String(),
		"device", sess.device, "filter", *sess.expression, "seconds", now.Sub(endedAt).Seconds())
	last.pending.done <- changed{interruption: now.Sub(last.endingAt)}
	return sess
}
