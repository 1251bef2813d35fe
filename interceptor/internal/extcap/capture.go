package extcap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"capstan/interceptor/internal/remote"
	"capstan/pkg/capfile"
	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcapclient"
)

// url returns the URL of the server and device that the fields name.
func (o *options) url() (rpcap.URL, error) {
	if o.host == "" {
		return rpcap.URL{}, errors.New("no host: give the name or address of the RPCAP server")
	}
	port, err := strconv.ParseUint(o.port, 10, 16)
	if err != nil || port == 0 {
		return rpcap.URL{}, fmt.Errorf("port %q is not from 1 to 65535", o.port)
	}
	u := rpcap.URL{Scheme: rpcap.SchemeTCP, Host: o.host, Port: uint16(port), User: o.user, Password: o.password, Device: o.device}
	if o.secure {
		u.Scheme = rpcap.SchemeTLS
	}
	if o.parameters != "" {
		u.Device += "?" + o.parameters
	}
	return u, remote.Password(&u, "")
}

// dial connects to the server.
func (o *options) dial(ctx context.Context) (*rpcapclient.Client, error) {
	u, err := o.url()
	if err != nil {
		return nil, err
	}
	c, err := remote.TLS(o.caFile, o.insecure)
	if err != nil {
		return nil, err
	}
	return rpcapclient.Dial(ctx, u, rpcapclient.Options{TLS: c})
}

// start makes the request of the fields.
func (o *options) start(ctx context.Context, c *rpcapclient.Client, link capture.LinkType) (*rpcapclient.Stream, error) {
	r := rpcapclient.StartRequest{
		SnapLen: o.snapLen, Promiscuous: !o.notPromiscuous, ReadTimeout: time.Duration(o.readTimeoutMilli) * time.Millisecond,
	}
	var transport remote.Transport
	err := transport.UnmarshalText([]byte(o.transport))
	if err != nil {
		return nil, err
	}
	r.Transport = transport.Transport
	if r.Filter, err = remote.Filter(link, o.filter); err != nil {
		return nil, fmt.Errorf("capture filter: %w", err)
	}
	if o.sampling != samplings[0].value {
		var s remote.Sampling
		if err := s.UnmarshalText(fmt.Appendf(nil, "%s:%d", o.sampling, o.samplingValue)); err != nil {
			return nil, err
		}
		if err := c.SetSampling(ctx, s.Method, s.Value); err != nil {
			return nil, err
		}
	}
	return c.Start(ctx, r)
}

// captureInto captures until ctx ends, the reader of the fifo goes, or the
// server ends it.
func captureInto(ctx context.Context, o *options, stderr io.Writer) error {
	if o.fifo == "" {
		return errors.New("no fifo to capture into")
	}
	c, err := o.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	name := o.device
	if o.parameters != "" {
		name += "?" + o.parameters
	}
	link, err := c.Open(ctx, name)
	if err != nil {
		return err
	}
	stream, err := o.start(ctx, c, link)
	if err != nil {
		return err
	}
	defer stream.Close()
	defer context.AfterFunc(ctx, func() { stream.Close() })()

	out, err := os.OpenFile(o.fifo, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	began := time.Now()
	w, err := newRecorder(out, capfile.Interface{Name: name, LinkType: link, SnapLen: o.snapLen})
	if err == nil {
		err = w.copy(stream)
	}
	if ctx.Err() != nil && errors.Is(err, net.ErrClosed) {
		err = nil
	}
	err = errors.Join(err, w.finish(c, stream, began), out.Close())
	if errors.Is(err, syscall.EPIPE) { // Wireshark has closed its end: that is how it stops a capture
		return nil
	}
	if missing := stream.Stats().Missing; missing > 0 {
		fmt.Fprintf(stderr, "extcap: %d frames were lost on the way from the server\n", missing)
	}
	return err
}

// recorder writes frames to the fifo.
type recorder struct {
	w  *capfile.Writer
	id int
}

func newRecorder(out io.Writer, i capfile.Interface) (*recorder, error) {
	w, err := capfile.NewWriter(out, "capstan extcap "+version())
	if err != nil {
		return nil, err
	}
	id, err := w.AddInterface(i)
	if err == nil {
		err = w.Flush() // Wireshark waits for it
	}
	return &recorder{w: w, id: id}, err
}

// copy writes frames until the stream ends. What is there is written before the
// stream is waited for.
func (r *recorder) copy(s *rpcapclient.Stream) error {
	var f capture.Frame
	for {
		if !s.Buffered() {
			if err := r.w.Flush(); err != nil {
				return err
			}
		}
		if err := s.Next(&f); err != nil {
			return err
		}
		if err := r.w.WriteFrame(r.id, &f); err != nil {
			return err
		}
	}
}

// statsTimeout is how long the last question may take: Wireshark waits for the
// end.
const statsTimeout = time.Second

// finish writes what the server counted.
func (r *recorder) finish(c *rpcapclient.Client, s *rpcapclient.Stream, began time.Time) error {
	if r == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), statsTimeout)
	defer cancel()
	if stats, err := c.Stats(ctx); err == nil {
		_ = r.w.WriteStatistics(r.id, capfile.Statistics{ // errors stick to the writer
			Start: began.UnixNano(), End: time.Now().UnixNano(),
			Received: uint64(stats.Received), Dropped: uint64(stats.KernelDropped) + s.Stats().Missing,
		})
	}
	return r.w.Flush()
}
