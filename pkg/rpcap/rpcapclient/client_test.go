package rpcapclient

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcaptest"
)

// dialServer connects to a scripted server and closes the session with the
// test.
func dialServer(t *testing.T, s *rpcaptest.Server, o Options) *Client {
	t.Helper()
	c, err := Dial(t.Context(), s.URL(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// session is a client of a server that plays the script after letting it in.
func session(t *testing.T, o Options, script ...rpcaptest.Step) *Client {
	t.Helper()
	return dialServer(t, rpcaptest.Start(t, rpcaptest.Config{}, append([]rpcaptest.Step{rpcaptest.Authenticate()}, script...)...), o)
}

// How long a stream waits for its other connection: noDelay where nothing comes
// and the test is about that, patient where something does come.
const (
	noDelay = 10 * time.Millisecond
	patient = time.Minute
)

// captureSession is a client with a stream of a server that plays the script
// once the data connection is made.
func captureSession(t *testing.T, grace time.Duration, script ...rpcaptest.Step) (*Client, *Stream) {
	t.Helper()
	c := session(t, Options{}, append([]rpcaptest.Step{
		rpcaptest.Open("eth0"),
		rpcaptest.ExpectType(rpcap.TypeStartCapRequest),
		rpcaptest.StartData(0),
	}, script...)...)
	c.grace = grace
	if _, err := c.Open(t.Context(), "eth0"); err != nil {
		t.Fatal(err)
	}
	s, err := c.Start(t.Context(), StartRequest{SnapLen: 96})
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

func wantRemote(t *testing.T, err error, code rpcap.ErrorCode, text string) {
	t.Helper()
	var remote *rpcap.RemoteError
	if !errors.As(err, &remote) || remote.Code != code || remote.Text != text {
		t.Errorf("got error %v, want %v %q of the server", err, code, text)
	}
}

// TestSession is one whole session over every transport.
func TestSession(t *testing.T) {
	serverTLS, pool, err := rpcaptest.SelfSigned("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	filter := []rpcap.Instruction{{Op: 0x28, K: 12}, {Op: 0x15, Jf: 1, K: 0x800}, {Op: 6, K: 96}, {Op: 6}}
	interfaces := []rpcap.Interface{{Name: "lo", Flags: rpcap.InterfaceLoopback, Addresses: []rpcap.InterfaceAddress{{Addr: netip.MustParseAddr("127.0.0.1")}}}, {Name: "eth0"}}
	stats := rpcap.StatsReply{Received: 4, KernelDropped: 1, Sent: 3}
	for _, tc := range []struct {
		name   string
		config rpcaptest.Config
	}{
		{"tcp", rpcaptest.Config{}},
		{"tcp6", rpcaptest.Config{Network: "tcp6"}},
		{"unix", rpcaptest.Config{Network: "unix"}},
		{"tls", rpcaptest.Config{TLS: serverTLS}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			server := rpcaptest.Start(t, tc.config,
				rpcaptest.Authenticate(),
				rpcaptest.Expect(&rpcap.FindAllIfRequest{}), rpcaptest.Send(&rpcap.FindAllIfReply{Interfaces: interfaces}),
				rpcaptest.Expect(&rpcap.OpenRequest{Device: "any"}), rpcaptest.Send(&rpcap.OpenReply{LinkType: capture.LinkTypeLinuxSLL}),
				rpcaptest.Expect(&rpcap.StartCapRequest{SnapLen: 96, ReadTimeout: 50 * time.Millisecond, Flags: rpcap.StartCapPromiscuous, Filter: filter}),
				rpcaptest.StartData(1024),
				rpcaptest.SendData(packets(1, 2, 60)),
				rpcaptest.Expect(&rpcap.UpdateFilterRequest{Filter: filter[3:]}), rpcaptest.Send(&rpcap.UpdateFilterReply{}),
				rpcaptest.SendData(packets(3, 1, 116)),
				rpcaptest.Expect(&rpcap.StatsRequest{}), rpcaptest.Send(&stats),
				rpcaptest.Expect(&rpcap.EndCapRequest{}), rpcaptest.CloseData(), rpcaptest.Send(&rpcap.EndCapReply{}),
				rpcaptest.Expect(&rpcap.Close{}), rpcaptest.ExpectEnd(),
			)
			ctx := t.Context()
			c := dialServer(t, server, Options{TLS: tlsTrusting(pool)})
			if c.ByteOrder() != binary.LittleEndian {
				t.Errorf("byte order %v", c.ByteOrder())
			}
			if got, err := c.Interfaces(ctx); err != nil || !reflect.DeepEqual(got, interfaces) {
				t.Errorf("interfaces %+v, %v", got, err)
			}
			if got, err := c.Open(ctx, "any"); err != nil || got != capture.LinkTypeLinuxSLL {
				t.Errorf("link type %v, %v", got, err)
			}
			s, err := c.Start(ctx, StartRequest{SnapLen: 96, ReadTimeout: 50 * time.Millisecond, Promiscuous: true, Filter: filter})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var f capture.Frame
			for i := range 2 {
				if err := s.Next(&f); err != nil || f.Timestamp != int64(i+1)*1000 || len(f.Data) != 60 || f.LinkType != capture.LinkTypeLinuxSLL {
					t.Errorf("frame %+v, %v", f, err)
				}
			}
			if err := s.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
				t.Error(err)
			}
			if err := s.Next(&f); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("without a frame: %v", err)
			}
			if err := s.SetReadDeadline(time.Time{}); err != nil {
				t.Error(err)
			}
			if err := c.UpdateFilter(ctx, filter[3:]); err != nil {
				t.Error(err)
			}
			if err := s.Next(&f); err != nil || f.Timestamp != 3000 {
				t.Errorf("frame %+v, %v", f, err)
			}
			if got, err := c.Stats(ctx); err != nil || got != stats {
				t.Errorf("statistics %+v, %v", got, err)
			}
			if err := c.EndCapture(ctx); err != nil {
				t.Error(err)
			}
			if err := s.Next(&f); err == nil || err.Error() != "EOF" {
				t.Errorf("after the end: %v", err)
			}
			if got := s.Stats(); got != (StreamStats{Frames: 3, Bytes: 236}) {
				t.Errorf("counters %+v", got)
			}
			if err := c.Err(); err != nil {
				t.Errorf("a sound session has an error: %v", err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A session can have one capture after the other.
func TestSecondCapture(t *testing.T) {
	one := []rpcaptest.Step{
		rpcaptest.ExpectType(rpcap.TypeStartCapRequest), rpcaptest.StartData(0), rpcaptest.SendData(packets(1, 1, 60)),
		rpcaptest.Expect(&rpcap.EndCapRequest{}), rpcaptest.CloseData(), rpcaptest.Send(&rpcap.EndCapReply{}),
	}
	c := session(t, Options{}, slices.Concat([]rpcaptest.Step{rpcaptest.Open("eth0")}, one, one, []rpcaptest.Step{rpcaptest.ExpectEnd()})...)
	c.grace = patient // an end that we asked for needs no reason
	if _, err := c.Open(t.Context(), "eth0"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s, err := c.Start(t.Context(), StartRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.EndCapture(t.Context()); err != nil {
			t.Error(err)
		}
		if all, err := readAll(s); len(all) != 1 || err == nil || err.Error() != "EOF" {
			t.Errorf("%d frames, %v", len(all), err)
		}
	}
	c.Close()
}

func TestStartRequest(t *testing.T) {
	ret := func(k uint32) []rpcap.Instruction { return []rpcap.Instruction{{Op: 6, K: k}} }
	for _, tc := range []struct {
		in   StartRequest
		want rpcap.StartCapRequest
	}{
		{StartRequest{}, rpcap.StartCapRequest{SnapLen: 262144, Filter: ret(262144)}},
		{StartRequest{SnapLen: -1}, rpcap.StartCapRequest{SnapLen: 262144, Filter: ret(262144)}},
		{StartRequest{SnapLen: 262145}, rpcap.StartCapRequest{SnapLen: 262144, Filter: ret(262144)}},
		{StartRequest{SnapLen: 64, Promiscuous: true}, rpcap.StartCapRequest{SnapLen: 64, Flags: 1, Filter: ret(64)}},
		{StartRequest{SnapLen: 64, Filter: ret(10)}, rpcap.StartCapRequest{SnapLen: 64, Filter: ret(10)}},
	} {
		if got, err := tc.in.message(); err != nil || !reflect.DeepEqual(*got, tc.want) {
			t.Errorf("%+v: %+v, %v", tc.in, got, err)
		}
	}
}

// What can't be said in the protocol is refused before anything is sent.
func TestRefusedLocally(t *testing.T) {
	c := session(t, Options{}, rpcaptest.Expect(&rpcap.Close{}), rpcaptest.ExpectEnd())
	long := make([]rpcap.Instruction, rpcap.MaxFilterLen+1)
	if _, err := c.Start(t.Context(), StartRequest{}); !errors.Is(err, errNotOpened) {
		t.Errorf("start without a device: %v", err)
	}
	if _, err := c.Start(t.Context(), StartRequest{Filter: long}); err == nil || !strings.Contains(err.Error(), "8193") {
		t.Errorf("start with a long filter: %v", err)
	}
	if err := c.UpdateFilter(t.Context(), long); err == nil || !strings.Contains(err.Error(), "8193") {
		t.Errorf("long filter: %v", err)
	}
	if _, err := c.Open(t.Context(), strings.Repeat("x", 1025)); err == nil || !strings.Contains(err.Error(), "1025") {
		t.Errorf("long device: %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Stats(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	c.Close()
}

// giveUp sends a STATS_REQ, of which the server tells on asked, and gives up.
func giveUp(t *testing.T, c *Client, asked <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var group sync.WaitGroup
	group.Go(func() {
		select {
		case <-asked:
			cancel()
		case <-t.Context().Done():
		}
	})
	if _, err := c.Stats(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	group.Wait()
}

// unanswered is the server's side of giveUp.
func unanswered(asked chan<- struct{}) []rpcaptest.Step {
	return []rpcaptest.Step{
		rpcaptest.Expect(&rpcap.StatsRequest{}),
		rpcaptest.Do("tell", func(*rpcaptest.Session) error { asked <- struct{}{}; return nil }),
	}
}

func TestLateAnswerKeepsStep(t *testing.T) {
	asked, late := make(chan struct{}, 1), make(chan struct{})
	c := session(t, Options{}, append(unanswered(asked),
		rpcaptest.WaitFor(late), rpcaptest.Send(&rpcap.StatsReply{Sent: 1}),
		rpcaptest.Expect(&rpcap.StatsRequest{}), rpcaptest.Send(&rpcap.StatsReply{Sent: 2}),
		rpcaptest.ExpectEnd())...)
	giveUp(t, c, asked)
	close(late)
	if got, err := c.Stats(t.Context()); err != nil || got.Sent != 2 {
		t.Errorf("the next answer is %+v, %v", got, err)
	}
	c.Close()
}

// An answer that never comes doesn't take the place of a later one.
func TestUnansweredRequestIsSkipped(t *testing.T) {
	asked := make(chan struct{}, 1)
	c := session(t, Options{}, append(unanswered(asked),
		rpcaptest.Expect(&rpcap.FindAllIfRequest{}), rpcaptest.Send(&rpcap.FindAllIfReply{Interfaces: []rpcap.Interface{{Name: "a"}}}),
		rpcaptest.ExpectEnd())...)
	giveUp(t, c, asked)
	if got, err := c.Interfaces(t.Context()); err != nil || len(got) != 1 {
		t.Errorf("the next answer is %+v, %v", got, err)
	}
	c.Close()
}

func TestStuckServer(t *testing.T) {
	asked := make(chan struct{}, 1)
	c := session(t, Options{}, append(slices.Repeat(unanswered(asked), maxAbandoned), rpcaptest.ExpectEnd())...)
	for range maxAbandoned {
		giveUp(t, c, asked)
	}
	if _, err := c.Stats(t.Context()); !errors.Is(err, errStuck) {
		t.Errorf("after %d requests without an answer: %v", maxAbandoned, err)
	}
	c.Close()
}

func TestRequestsWaitForOneAnother(t *testing.T) {
	const n = 20
	var script []rpcaptest.Step
	for i := range n {
		script = append(script, rpcaptest.Expect(&rpcap.StatsRequest{}), rpcaptest.Send(&rpcap.StatsReply{Sent: uint32(i)}))
	}
	c := session(t, Options{}, append(script, rpcaptest.ExpectEnd())...)
	var mu sync.Mutex
	var sum uint32
	var group sync.WaitGroup
	for range n {
		group.Go(func() {
			got, err := c.Stats(t.Context())
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			sum += got.Sent
		})
	}
	group.Wait()
	if sum != n*(n-1)/2 {
		t.Errorf("answers sum up to %d", sum)
	}
	c.Close()
}

func TestCloseUnblocksRequest(t *testing.T) {
	asked := make(chan struct{})
	c := session(t, Options{}, rpcaptest.Expect(&rpcap.StatsRequest{}),
		rpcaptest.Do("tell", func(*rpcaptest.Session) error { close(asked); return nil }), rpcaptest.ExpectEnd())
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			<-asked
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := c.Stats(t.Context()); !errors.Is(err, os.ErrClosed) || !errors.Is(err, net.ErrClosed) {
		t.Errorf("request under way: %v", err)
	}
	group.Wait()
	if _, err := c.Interfaces(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("later request: %v", err)
	}
	if err := c.Err(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("session: %v", err)
	}
}

func TestCloseUnblocksNext(t *testing.T) {
	for name, end := range map[string]func(*Client, *Stream) error{
		"client": func(c *Client, _ *Stream) error { return c.Close() },
		"stream": func(_ *Client, s *Stream) error { return s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			closed := make(chan struct{}) // until then the server leaves the data connection open
			c, s := captureSession(t, patient, rpcaptest.SendData(packets(1, 1, 60)), rpcaptest.ExpectEnd(), rpcaptest.WaitFor(closed))
			defer close(closed)
			var f capture.Frame
			if err := s.Next(&f); err != nil {
				t.Fatal(err)
			}
			var group sync.WaitGroup
			group.Go(func() {
				for range 2 {
					if err := end(c, s); err != nil {
						t.Error(err)
					}
				}
			})
			for range 2 {
				if err := s.Next(&f); !errors.Is(err, os.ErrClosed) {
					t.Errorf("Next: %v", err)
				}
			}
			group.Wait()
			c.Close()
		})
	}
}

// An ERROR that comes while the data connection is made is the stream's.
func TestErrorBeforeStream(t *testing.T) {
	c := session(t, Options{}, rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeRead, Text: "gone"}), rpcaptest.CloseControl())
	<-c.readerDone
	s := newStream(&emptyConn{}, 96, 1)
	if err := c.adopt(s); err != nil {
		t.Fatal(err)
	}
	if !s.isLost() {
		t.Fatal("the stream doesn't know")
	}
	wantRemote(t, s.lost, rpcap.CodeRead, "gone")
}

// The session survives a capture that has failed, and so does the next one.
func TestCaptureAfterError(t *testing.T) {
	start := []rpcaptest.Step{rpcaptest.ExpectType(rpcap.TypeStartCapRequest), rpcaptest.StartData(0)}
	end := []rpcaptest.Step{rpcaptest.Expect(&rpcap.EndCapRequest{}), rpcaptest.CloseData(), rpcaptest.Send(&rpcap.EndCapReply{})}
	c := session(t, Options{}, slices.Concat([]rpcaptest.Step{rpcaptest.Open("eth0")},
		start, []rpcaptest.Step{rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeRead, Text: "gone"}), rpcaptest.CloseData()},
		start, end, []rpcaptest.Step{rpcaptest.ExpectEnd()})...)
	c.grace = patient
	if _, err := c.Open(t.Context(), "eth0"); err != nil {
		t.Fatal(err)
	}
	s, err := c.Start(t.Context(), StartRequest{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = readAll(s)
	wantRemote(t, err, rpcap.CodeRead, "gone")
	s.Close()
	if s, err = c.Start(t.Context(), StartRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Err(); err != nil || s.isLost() {
		t.Errorf("the second capture inherits %v", err)
	}
	if err := c.EndCapture(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := readAll(s); err == nil || err.Error() != "EOF" {
		t.Errorf("the second capture ends with %v", err)
	}
	c.Close()
}

func TestSetReadDeadlineUnblocksNext(t *testing.T) {
	c, s := captureSession(t, patient, rpcaptest.ExpectEnd())
	var group sync.WaitGroup
	group.Go(func() {
		if err := s.SetReadDeadline(time.Now().Add(time.Millisecond)); err != nil {
			t.Error(err)
		}
	})
	if err := s.Next(new(capture.Frame)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Next: %v", err)
	}
	group.Wait()
	c.Close()
}

// A server that takes a request in only half holds nobody up, and no CLOSE is
// sent into the middle of it.
func TestServerThatDoesNotRead(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	c := newClient(ours, &dialer{}, time.Millisecond)
	if _, err := c.Stats(t.Context()); !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("request: %v", err)
	}
	<-c.readerDone
	if err := c.Err(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("session: %v", err)
	}
	c.Close()
}

// A body beyond every limit ends the session before it costs memory.
func TestBodyTooLong(t *testing.T) {
	c := session(t, Options{}, rpcaptest.Expect(&rpcap.FindAllIfRequest{}),
		rpcaptest.SendRaw(rpcap.AppendHeader(nil, rpcap.Header{Type: rpcap.TypeFindAllIfReply, Value: 1, Len: 1<<32 - 1})))
	var tooLong *rpcap.BodyTooLongError
	if _, err := c.Interfaces(t.Context()); !errors.As(err, &tooLong) || tooLong.Limit != rpcap.MaxListing {
		t.Errorf("request: %v", err)
	}
	if _, err := c.Stats(t.Context()); !errors.As(err, &tooLong) {
		t.Errorf("later request: %v", err)
	}
	c.Close()
}
