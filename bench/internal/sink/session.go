//go:build linux

package sink

import (
	"context"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcapclient"
)

// session is a running capture at a server.
type session interface {
	linkType() capture.LinkType
	// next waits for a frame, valid until the next call. io.EOF is the end
	// after end.
	next(f *capture.Frame) error
	// buffered reports whether next returns without asking the kernel.
	buffered() bool
	// holes counts the frames missing by their numbers; it is called when
	// next isn't any more.
	holes() uint64
	stats(ctx context.Context) (rpcap.StatsReply, error)
	// end ends the capture; next goes on until io.EOF.
	end(ctx context.Context) error
	// close ends everything, a next under way too.
	close() error
}

// streamSession has its frames on a connection.
type streamSession struct {
	client *rpcapclient.Client
	stream *rpcapclient.Stream
	link   capture.LinkType
}

func openStream(ctx context.Context, c Config) (session, error) {
	client, err := rpcapclient.Dial(ctx, c.URL, rpcapclient.Options{TLS: c.TLS})
	if err != nil {
		return nil, err
	}
	s := &streamSession{client: client}
	s.link, err = client.Open(ctx, c.URL.Device)
	if err == nil {
		s.stream, err = client.Start(ctx, rpcapclient.StartRequest{
			SnapLen: c.SnapLen, ReadTimeout: c.ReadTimeout, Promiscuous: c.Promiscuous,
		})
	}
	if err != nil {
		client.Close()
		return nil, err
	}
	return s, nil
}

func (s *streamSession) linkType() capture.LinkType  { return s.link }
func (s *streamSession) next(f *capture.Frame) error { return s.stream.Next(f) }
func (s *streamSession) buffered() bool              { return s.stream.Buffered() }
func (s *streamSession) holes() uint64               { return s.stream.Stats().Missing }
func (s *streamSession) stats(ctx context.Context) (rpcap.StatsReply, error) {
	return s.client.Stats(ctx)
}
func (s *streamSession) end(ctx context.Context) error { return s.client.EndCapture(ctx) }
func (s *streamSession) close() error                  { return s.client.Close() }
