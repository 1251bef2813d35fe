package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"capstan/interceptor/internal/collector"
	"capstan/interceptor/internal/config"
	"capstan/interceptor/internal/own"
	capstanv1 "capstan/proto/capstan/v1"
)

// TestChosenLosses: what drop-oldest drops while it runs is no failure of a
// capture, but one of reading a file; what could not be delivered at the end is
// one of both.
func TestChosenLosses(t *testing.T) {
	stored, open := make(chan struct{}), make(chan struct{})
	slow := func(_ context.Context, _ string, _ [][]byte) (int, error) {
		select {
		case stored <- struct{}{}:
			<-open
		default:
		}
		return 0, nil
	}
	o := emitTo(t, serveStore(t, slow), 100, stored)
	close(open)
	if err := o.close(); err != nil {
		t.Errorf("a capture: %v", err)
	}
	var early *endedEarlyError
	if err := o.dropped(); !errors.As(err, &early) || !strings.Contains(err.Error(), "sink c: 9") {
		t.Errorf("a file: %v", err)
	}

	never := func(ctx context.Context, _ string, _ [][]byte) (int, error) {
		select {
		case stored <- struct{}{}:
			<-ctx.Done()
		case <-ctx.Done():
		}
		return 0, ctx.Err()
	}
	o = emitTo(t, serveStore(t, never), 3, stored)
	o.drain = time.Millisecond
	if err := o.close(); !errors.As(err, &early) || !strings.Contains(err.Error(), "sink c: 3 records were not delivered") {
		t.Errorf("at the end: %v", err)
	}
}

func serveStore(t *testing.T, store collector.Store) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(grpc.MaxRecvMsgSize(collector.MaxMessage))
	capstanv1.RegisterCollectorServer(g, collector.NewServer(store, collector.Limits{}))
	go func() { _ = g.Serve(l) }() // ended by Stop
	t.Cleanup(g.Stop)
	return l.Addr().String()
}

// emitTo emits so many records to a collector: the first is under way before the
// others come.
func emitTo(t *testing.T, address string, records int, stored <-chan struct{}) *outlets {
	t.Helper()
	o := &outlets{drain: 30 * time.Second, own: own.New(), log: slog.New(slog.DiscardHandler)}
	sink := config.Sink{Name: "c", Policy: "drop-oldest", MaxRecords: 5, Collector: &config.Collector{Address: address, Insecure: true, Node: "n"}}
	if err := openSinks(o, []config.Sink{sink}); err != nil {
		t.Fatal(err)
	}
	for n := range records {
		if err := o.fanout.Emit(&capstanv1.Exchange{Id: fmt.Sprint(n)}); err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			<-stored
		}
	}
	return o
}
