package rpcapclient

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"capstan/pkg/capture"
	"capstan/pkg/rpcap"
	"capstan/pkg/rpcap/rpcaptest"
)

// The cases of the client in the conformance list of the protocol: 134 and 135
// are rows of TestStreamRefuses, too, 141 is in package rpcap, 142 in dial_test.go.
// 129 (host order of CAN frames) is about what the Client leaves to its user, who
// has Client.ByteOrder. 140 is in channel_test.go.

// reply returns the bytes of a reply.
func reply(t rpcap.Type, value uint16, body []byte) []byte {
	return append(rpcap.AppendHeader(nil, rpcap.Header{Type: t, Value: value, Len: uint32(len(body))}), body...)
}

func dialAnswering(t *testing.T, body []byte) error {
	server := rpcaptest.Start(t, rpcaptest.Config{},
		rpcaptest.Expect(&rpcap.AuthRequest{}), rpcaptest.SendRaw(reply(rpcap.TypeAuthReply, 0, body)), rpcaptest.ExpectEnd())
	c, err := Dial(t.Context(), server.URL(), Options{})
	if err == nil {
		c.Close()
	}
	return err
}

func TestCase126AuthReplyLengths(t *testing.T) {
	little := []byte{0, 0, 0, 0, 0xd4, 0xc3, 0xb2, 0xa1, 1, 2, 3, 4}
	for _, n := range []int{0, 2, 3, 7, 8, 12} {
		if err := dialAnswering(t, little[:n]); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if err := dialAnswering(t, little[:1]); err == nil || !strings.Contains(err.Error(), "Authentication reply from server is too short") {
		t.Errorf("1 byte: %v", err)
	}
}

func TestCase127Version(t *testing.T) {
	if err := dialAnswering(t, []byte{1, 1}); err == nil || !strings.Contains(err.Error(), "doesn't support any protocol version that we support") {
		t.Errorf("only version 1: %v", err)
	}
	if err := dialAnswering(t, []byte{1, 0}); err == nil || !strings.Contains(err.Error(), "above its highest") {
		t.Errorf("version 1 to 0: %v", err)
	}
	if err := dialAnswering(t, []byte{0, 9}); err != nil {
		t.Errorf("version 0 to 9: %v", err)
	}
}

func TestCase128ByteOrder(t *testing.T) {
	if err := dialAnswering(t, make([]byte, 8)); err == nil || !strings.Contains(err.Error(), "valid byte order value") {
		t.Errorf("%v", err)
	}
}

// listing is what Interfaces returns for the body.
func listing(t *testing.T, value uint16, body []byte) ([]rpcap.Interface, error) {
	c := session(t, Options{}, rpcaptest.Expect(&rpcap.FindAllIfRequest{}),
		rpcaptest.SendRaw(reply(rpcap.TypeFindAllIfReply, value, body)), rpcaptest.ExpectEnd())
	defer c.Close()
	return c.Interfaces(t.Context())
}

// interfaceRecord is one record with one address.
func interfaceRecord(name string, sockaddr []byte) []byte {
	b := []byte{0, byte(len(name)), 0, 0, 0, 0, 0, 0, 0, 1, 0, 0}
	b = append(b, name...)
	return append(append(b, sockaddr...), make([]byte, 512-len(sockaddr))...)
}

func TestCase130ListingWithoutCount(t *testing.T) {
	body := interfaceRecord("lo", []byte{0, 2, 0, 0, 127, 0, 0, 1})
	if len(body) != 526 {
		t.Fatal(len(body))
	}
	want := []rpcap.Interface{{Name: "lo", Addresses: []rpcap.InterfaceAddress{{Addr: netip.MustParseAddr("127.0.0.1")}}}}
	if got, err := listing(t, 0, body); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCase131Families(t *testing.T) {
	v4 := []byte{0, 0, 192, 0, 2, 1}
	v6 := append([]byte{0, 0, 0, 0, 0, 0, 0x20, 1, 0xd, 0xb8}, append(make([]byte, 11), 1)...)
	var body []byte
	families := []uint16{10, 23, 24, 26, 0x1c1e, 0x1002}
	for i, f := range families {
		tail := v6
		if f == 0x1002 {
			tail = v4
		}
		body = append(body, interfaceRecord(fmt.Sprint("if", i), append([]byte{byte(f >> 8), byte(f)}, tail...))...)
	}
	got, err := listing(t, uint16(len(families)), body)
	if err != nil || len(got) != len(families) {
		t.Fatal(got, err)
	}
	for i, f := range families {
		want := netip.MustParseAddr("2001:db8::1")
		if f == 0x1002 {
			want = netip.MustParseAddr("192.0.2.1")
		}
		if a := got[i].Addresses; len(a) != 1 || a[0].Addr != want {
			t.Errorf("family %#x: %+v", f, a)
		}
	}
}

func TestCase132LongErrorText(t *testing.T) {
	c := session(t, Options{},
		rpcaptest.ExpectType(rpcap.TypeOpenRequest), rpcaptest.SendRaw(reply(rpcap.TypeError, 6, bytes.Repeat([]byte("x"), 1000))),
		rpcaptest.ExpectType(rpcap.TypeOpenRequest), rpcaptest.SendRaw(reply(rpcap.TypeError, 0, nil)),
		rpcaptest.Expect(&rpcap.StatsRequest{}), rpcaptest.Send(&rpcap.StatsReply{Sent: 1}),
		rpcaptest.ExpectEnd())
	_, err := c.Open(t.Context(), "eth0")
	wantRemote(t, err, rpcap.CodeOpen, strings.Repeat("x", 255))
	_, err = c.Open(t.Context(), "eth0") // some servers send code 0
	wantRemote(t, err, 0, "")
	if got, err := c.Stats(t.Context()); err != nil || got.Sent != 1 {
		t.Errorf("afterwards: %+v, %v", got, err)
	}
	c.Close()
}

func TestCase133WrongReply(t *testing.T) {
	c := session(t, Options{},
		rpcaptest.Expect(&rpcap.StatsRequest{}), rpcaptest.Send(&rpcap.OpenReply{LinkType: 1}),
		rpcaptest.Expect(&rpcap.StatsRequest{}), rpcaptest.SendRaw(reply(0x6e, 0, []byte("whatever"))),
		rpcaptest.Expect(&rpcap.StatsRequest{}), rpcaptest.SendRaw(append([]byte{7}, reply(rpcap.TypeStatsReply, 0, make([]byte, 16))[1:]...)),
		rpcaptest.Expect(&rpcap.StatsRequest{}), rpcaptest.SendRaw(reply(rpcap.TypeStatsReply, 0, make([]byte, 15))),
		rpcaptest.Expect(&rpcap.StatsRequest{}), rpcaptest.SendRaw(reply(rpcap.TypeStatsReply, 0, bytes.Repeat([]byte{1}, 99))),
		rpcaptest.ExpectEnd())
	for _, want := range []string{
		"RPCAP_MSG_OPEN_REPLY message received in response to a RPCAP_MSG_STATS_REQ message",
		"Message of unknown type 110 received in response to a RPCAP_MSG_STATS_REQ request",
		"Server sent us a message with version 7 when we were expecting 0",
		"body too short",
	} {
		if got, err := c.Stats(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v, %v, want an error with %q", got, err, want)
		}
	}
	if got, err := c.Stats(t.Context()); err != nil || got.Sent != 0x01010101 {
		t.Errorf("afterwards, with bytes to spare: %+v, %v", got, err)
	}
	c.Close()
}

func TestCase134CapLenPastEnd(t *testing.T) {
	wire := packets(1, 1, 60)
	wire[19] = 80 // plen
	c, s := captureSession(t, patient, rpcaptest.SendData(wire), rpcaptest.ExpectEnd())
	if err := s.Next(new(capture.Frame)); err == nil || !strings.Contains(err.Error(), "goes past the end of the received packet message") {
		t.Errorf("%v", err)
	}
	c.Close()
}

func TestCase135PacketTooLarge(t *testing.T) {
	c, s := captureSession(t, patient, rpcaptest.SendData(packets(1, 1, 200)), rpcaptest.ExpectEnd())
	var tooLong *PacketTooLongError
	if err := s.Next(new(capture.Frame)); !errors.As(err, &tooLong) || tooLong.Len != 220 {
		t.Errorf("%v", err)
	}
	c.Close()
}

// Case 136: the text for the end of the data is libpcap's.
func TestCase136DataEnds(t *testing.T) {
	for _, tc := range []struct {
		name   string
		cut    int // bytes of the second packet
		end    []rpcaptest.Step
		frames int
		want   error
	}{
		{"both connections", 88, []rpcaptest.Step{rpcaptest.CloseControl(), rpcaptest.CloseData()}, 2, io.EOF},
		{"inside of a message", 50, []rpcaptest.Step{rpcaptest.CloseControl(), rpcaptest.CloseData()}, 1, io.ErrUnexpectedEOF},
		{"data alone", 88, []rpcaptest.Step{rpcaptest.CloseData(), rpcaptest.ExpectEnd()}, 2, io.EOF},
		{"data alone, inside of a message", 1, []rpcaptest.Step{rpcaptest.CloseData(), rpcaptest.ExpectEnd()}, 1, io.ErrUnexpectedEOF},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, s := captureSession(t, noDelay, append([]rpcaptest.Step{rpcaptest.SendData(packets(1, 2, 60)[:88+tc.cut])}, tc.end...)...)
			all, err := readAll(s)
			var end *TerminatedError
			if len(all) != tc.frames || !errors.As(err, &end) || end.Err != tc.want || err.Error() != "The other host terminated the connection." {
				t.Errorf("%d frames, %v", len(all), err)
			}
			c.Close()
		})
	}
}

// The control connection's end is told to the request that waits, and to a
// stream whose data connection stays open.
func TestControlEnds(t *testing.T) {
	done := make(chan struct{})
	c, s := captureSession(t, noDelay, rpcaptest.SendData(packets(1, 3, 60)),
		rpcaptest.Expect(&rpcap.StatsRequest{}), rpcaptest.CloseControl(), rpcaptest.WaitFor(done))
	defer close(done)
	nextFrames(t, s, 3)
	var end *TerminatedError
	if _, err := c.Stats(t.Context()); !errors.As(err, &end) || end.Err != io.EOF {
		t.Errorf("request under way: %v", err)
	}
	if _, err := c.Stats(t.Context()); !errors.As(err, &end) {
		t.Errorf("later request: %v", err)
	}
	if err := c.Err(); !errors.As(err, &end) {
		t.Errorf("session: %v", err)
	}
	if err := s.Next(new(capture.Frame)); !errors.As(err, &end) || end.Err != io.EOF {
		t.Errorf("stream: %v", err)
	}
	c.Close()
}

func nextFrames(t *testing.T, s *Stream, n int) {
	t.Helper()
	for i := range n {
		if err := s.Next(new(capture.Frame)); err != nil {
			t.Fatalf("frame %d: %v", i+1, err)
		}
	}
}

// Case 137: an ERROR that answers no request ends the capture and nothing else.
func TestCase137UnsolicitedError(t *testing.T) {
	const text = "Error reading the packets: the interface went down"
	read := rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeRead, Text: text})
	stats := []rpcaptest.Step{rpcaptest.Expect(&rpcap.StatsRequest{}), rpcaptest.Send(&rpcap.StatsReply{Sent: 5}), rpcaptest.ExpectEnd()}
	for _, tc := range []struct {
		name   string
		grace  time.Duration
		script []rpcaptest.Step
	}{
		{"data ends", patient, []rpcaptest.Step{read, rpcaptest.CloseData()}},
		{"data ends first", patient, []rpcaptest.Step{rpcaptest.CloseData(), read}},
		{"data stays open", noDelay, []rpcaptest.Step{read}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			delivered := make(chan struct{})
			c, s := captureSession(t, tc.grace, slices.Concat(
				[]rpcaptest.Step{rpcaptest.SendData(packets(1, 5, 60)), rpcaptest.WaitFor(delivered)}, tc.script, stats)...)
			nextFrames(t, s, 5)
			close(delivered)
			err := s.Next(new(capture.Frame))
			wantRemote(t, err, rpcap.CodeRead, text)
			wantRemote(t, c.Err(), rpcap.CodeRead, text)
			if got, err := c.Stats(t.Context()); err != nil || got.Sent != 5 {
				t.Errorf("the next answer is %+v, %v", got, err)
			}
			c.Close()
		})
	}
}

// Even while a request waits, a capture's read error is not its answer.
func TestUnsolicitedErrorDuringRequest(t *testing.T) {
	c, s := captureSession(t, patient, rpcaptest.Expect(&rpcap.StatsRequest{}), rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeRead, Text: "gone"}),
		rpcaptest.Send(&rpcap.StatsReply{Sent: 5}), rpcaptest.CloseData(), rpcaptest.ExpectEnd())
	if got, err := c.Stats(t.Context()); err != nil || got.Sent != 5 {
		t.Errorf("the answer is %+v, %v", got, err)
	}
	_, err := readAll(s)
	wantRemote(t, err, rpcap.CodeRead, "gone")
	c.Close()
}

// Without a capture, too, the reason of the end is told: here the daemon's
// timeout for idle sessions.
func TestIdleTimeoutOfServer(t *testing.T) {
	const text = "The RPCAP initial timeout has expired"
	c := session(t, Options{}, rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeInitTimeout, Text: text}), rpcaptest.CloseControl())
	<-c.readerDone
	_, err := c.Interfaces(t.Context())
	wantRemote(t, err, rpcap.CodeInitTimeout, text)
	c.Close()
}

// A data connection that nobody reads for long must be read to its end, when
// the control connection has ended meanwhile.
func TestLostStreamIsDrained(t *testing.T) {
	drained := make(chan struct{})
	c, s := captureSession(t, patient, rpcaptest.SendData(packets(1, 100, 60)), rpcaptest.CloseControl(),
		rpcaptest.WaitFor(drained), rpcaptest.SendData(packets(101, 100, 60)), rpcaptest.CloseData())
	<-c.readerDone
	s.mu.Lock()
	s.lostEnd = s.lostEnd.Add(-2 * patient) // as if the time had passed
	err := s.applyDeadline()
	s.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	nextFrames(t, s, 100)
	close(drained)
	all, err := readAll(s) // what still comes is taken, too
	var end *TerminatedError
	if len(all) != 100 || !errors.As(err, &end) || s.Stats().Missing != 0 {
		t.Errorf("%d frames, %v", len(all), err)
	}
	c.Close()
}

func TestCase138NoFilter(t *testing.T) {
	c := session(t, Options{}, rpcaptest.Open("eth0"),
		// 28 bytes that say they are 28: one instruction "ret #262144".
		rpcaptest.ExpectRaw([]byte("\x00\x04\x00\x00\x00\x00\x00\x1c\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01\x00\x06\x00\x00\x00\x04\x00\x00")),
		rpcaptest.StartData(0), rpcaptest.ExpectEnd())
	if _, err := c.Open(t.Context(), "eth0"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Start(t.Context(), StartRequest{}); err != nil {
		t.Error(err)
	}
	c.Close()
}

// Servers without a data connection send PACKETs on the control connection.
func TestFramesOnControlConnection(t *testing.T) {
	again := make(chan struct{})
	c := session(t, Options{}, rpcaptest.Open("eth0"), rpcaptest.ExpectType(rpcap.TypeStartCapRequest),
		rpcaptest.SendRaw(append(rpcap.Append(nil, &rpcap.StartCapReply{}), packets(1, 3, 60)...)), // at once
		rpcaptest.Expect(&rpcap.StatsRequest{}), rpcaptest.SendRaw(packets(4, 3, 60)), rpcaptest.Send(&rpcap.StatsReply{Sent: 6}),
		rpcaptest.Expect(&rpcap.EndCapRequest{}), rpcaptest.SendRaw(packets(7, 3, 60)), rpcaptest.Send(&rpcap.EndCapReply{}),
		rpcaptest.ExpectType(rpcap.TypeStartCapRequest), rpcaptest.Send(&rpcap.StartCapReply{}), rpcaptest.SendRaw(packets(1, 2, 60)[:100]),
		rpcaptest.WaitFor(again), rpcaptest.CloseControl())
	if _, err := c.Open(t.Context(), "eth0"); err != nil {
		t.Fatal(err)
	}
	s, err := c.Start(t.Context(), StartRequest{})
	if err != nil {
		t.Fatal(err)
	}
	requests := make(chan error, 2)
	go func() { // ends with the two requests; awaited below
		got, err := c.Stats(t.Context())
		if err == nil && got.Sent != 6 {
			err = fmt.Errorf("%+v", got)
		}
		requests <- err
		requests <- c.EndCapture(t.Context())
	}()
	all, err := readAll(s)
	if len(all) != 9 || err != io.EOF || s.Stats().Missing != 0 {
		t.Errorf("%d frames, %v, %+v", len(all), err, s.Stats())
	}
	for range 2 {
		if err := <-requests; err != nil {
			t.Error(err)
		}
	}
	c.grace = noDelay
	if s, err = c.Start(t.Context(), StartRequest{}); err != nil {
		t.Fatal(err)
	}
	close(again)
	all, err = readAll(s)
	var end *TerminatedError
	if len(all) != 1 || !errors.As(err, &end) {
		t.Errorf("a connection that breaks: %d frames, %v", len(all), err)
	}
	c.Close()
}

// Close ends a session in which frames on the control connection wait that
// nobody reads.
func TestCloseWithFramesOnControlConnection(t *testing.T) {
	c := session(t, Options{}, rpcaptest.Open("eth0"), rpcaptest.ExpectType(rpcap.TypeStartCapRequest),
		rpcaptest.SendRaw(append(rpcap.Append(nil, &rpcap.StartCapReply{}), packets(1, 3, 60)...)), rpcaptest.ExpectEnd())
	if _, err := c.Open(t.Context(), "eth0"); err != nil {
		t.Fatal(err)
	}
	s, err := c.Start(t.Context(), StartRequest{})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := s.Next(new(capture.Frame)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestCase139Sampling(t *testing.T) {
	c := session(t, Options{},
		rpcaptest.ExpectRaw([]byte{0, 0x0b, 0, 0, 0, 0, 0, 8, 1, 0, 0, 0, 0, 0, 0, 10}), rpcaptest.Send(&rpcap.SetSamplingReply{}),
		rpcaptest.ExpectType(rpcap.TypeSetSamplingReq), rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeSetSampling, Text: "no"}),
		rpcaptest.ExpectEnd())
	if err := c.SetSampling(t.Context(), rpcap.SamplingOneInN, 10); err != nil {
		t.Error(err)
	}
	wantRemote(t, c.SetSampling(t.Context(), rpcap.SamplingFirstAfterMS, 10), rpcap.CodeSetSampling, "no")
	c.Close()
}

// The reference accepts a capture before it has the data connection and may
// still answer a second time.
func TestLateStartError(t *testing.T) {
	const text = "accept() failed"
	started := make(chan struct{})
	c := session(t, Options{}, rpcaptest.Open("eth0"), rpcaptest.ExpectType(rpcap.TypeStartCapRequest), rpcaptest.StartData(0),
		rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeStartCapture, Text: text}), rpcaptest.CloseData(), rpcaptest.WaitFor(started),
		rpcaptest.Expect(&rpcap.StatsRequest{}), rpcaptest.Send(&rpcap.StatsReply{Sent: 5}), rpcaptest.ExpectEnd())
	if _, err := c.Open(t.Context(), "eth0"); err != nil {
		t.Fatal(err)
	}
	c.grace = patient
	s, err := c.Start(t.Context(), StartRequest{})
	if err != nil {
		t.Fatal(err)
	}
	close(started)
	_, err = readAll(s)
	wantRemote(t, err, rpcap.CodeStartCapture, text)
	if got, err := c.Stats(t.Context()); err != nil || got.Sent != 5 {
		t.Errorf("the next answer is %+v, %v", got, err)
	}
	c.Close()
}

func TestDataConnectionRefused(t *testing.T) {
	c := session(t, Options{}, rpcaptest.Open("eth0"), rpcaptest.ExpectType(rpcap.TypeStartCapRequest),
		rpcaptest.Send(&rpcap.StartCapReply{DataPort: 1}), rpcaptest.ExpectEnd())
	if _, err := c.Open(t.Context(), "eth0"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Start(t.Context(), StartRequest{}); err == nil || !strings.Contains(err.Error(), "data connection") {
		t.Errorf("start: %v", err)
	}
	c.Close()
}

// A refused EndCapture doesn't make the end of the data a proper one.
func TestEndCaptureRefused(t *testing.T) {
	const text = "no capture"
	c, s := captureSession(t, patient, rpcaptest.Expect(&rpcap.EndCapRequest{}), rpcaptest.Send(&rpcap.Error{Code: rpcap.CodeEndCapture, Text: text}),
		rpcaptest.CloseControl(), rpcaptest.CloseData())
	wantRemote(t, c.EndCapture(t.Context()), rpcap.CodeEndCapture, text)
	var end *TerminatedError
	if err := s.Next(new(capture.Frame)); !errors.As(err, &end) {
		t.Errorf("%v", err)
	}
	c.Close()
}
