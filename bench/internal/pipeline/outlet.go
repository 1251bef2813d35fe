package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// outlet is where records go. What receives them is in this process, so that its
// work doesn't count.
type outlet struct {
	args  []string                    // the interceptor's
	ready func(context.Context) error // called before anything is sent; may be nil
	close func() error
}

// outlets are what can be measured, cheapest first. "kept" keeps the latest records
// for watchers of which there are none; "watch" has one who takes all.
var outlets = []struct {
	name string
	open func(*bed, context.Context) (outlet, error)
}{
	{"none", func(*bed, context.Context) (outlet, error) { return plain("--output", "none"), nil }},
	{"kept", func(b *bed, _ context.Context) (outlet, error) {
		return plain("--output", "none", "--api-socket", b.path("api")), nil
	}},
	{"watch", (*bed).watcher},
	{"json", func(*bed, context.Context) (outlet, error) { return plain("--output", "json"), nil }},
	{"file", func(b *bed, _ context.Context) (outlet, error) {
		return b.configured("file: {path: %s, rotate_size: 64MiB, keep: 1}", b.path("records.ndjson"))
	}},
	{"zstd", func(b *bed, _ context.Context) (outlet, error) {
		return b.configured("file: {path: %s, rotate_size: 64MiB, keep: 1, zstd: true}", b.path("records.ndjson.zst"))
	}},
	{"kafka", (*bed).kafka},
	{"otlp", (*bed).otlp},
}

// OutletNames returns the names that [Config.Outlets] may have.
func OutletNames() (names []string) {
	for _, o := range outlets {
		names = append(names, o.name)
	}
	return names
}

func (b *bed) outlet(ctx context.Context, name string) (outlet, error) {
	for _, o := range outlets {
		if o.name == name {
			return o.open(b, ctx)
		}
	}
	return outlet{}, fmt.Errorf("unknown outlet; there are %v", OutletNames())
}

// plain is an outlet without a receiver. The socket of the API is only served if
// args, whose last word counts, say so.
func plain(args ...string) outlet {
	return outlet{args: append([]string{"--api-socket", ""}, args...), close: func() error { return nil }}
}

// configured is an outlet that a configuration file with one sink describes. It
// blocks, so that each exchange is counted in full.
func (b *bed) configured(sink string, args ...any) (outlet, error) {
	file := b.path("config.yaml")
	text := fmt.Sprintf("drain_timeout: 30s\nsinks:\n- policy: block\n  "+sink+"\n", args...)
	return plain("--config", file), os.WriteFile(file, []byte(text), 0o600)
}

// kafka is a broker that keeps nothing.
func (b *bed) kafka(context.Context) (outlet, error) {
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "http"), kfake.BlackholeProduce(), kfake.ListenFn(b.server.Listen))
	if err != nil {
		return outlet{}, err
	}
	o, err := b.configured("kafka: {brokers: [%q], topic: http}", broker.ListenAddrs()[0])
	o.close = func() error { broker.Close(); return nil }
	return o, err
}

// otlp is a receiver that answers all with success: an empty message.
func (b *bed) otlp(context.Context) (outlet, error) {
	l, err := b.server.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return outlet{}, err
	}
	s := grpc.NewServer(grpc.ForceServerCodec(opaque{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		var m []byte
		if err := stream.RecvMsg(&m); err != nil {
			return err
		}
		return stream.SendMsg(new([]byte))
	}))
	go func() { _ = s.Serve(l) }() // ended by Stop
	o, err := b.configured("otlp: {endpoint: %q, protocol: grpc}", l.Addr().String())
	o.close = func() error { s.Stop(); return nil }
	return o, err
}

// watcher is somebody who follows the records through the API.
func (b *bed) watcher(ctx context.Context) (outlet, error) {
	conn, err := grpc.NewClient("unix:"+b.path("api"), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(opaque{})))
	if err != nil {
		return outlet{}, err
	}
	var watching sync.WaitGroup
	var failed error
	o := plain("--output", "none", "--api-socket", b.path("api"))
	o.ready = func(ctx context.Context) error {
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, "/capstan.v1.Interceptor/Watch")
		if err != nil {
			return err
		}
		if err := errors.Join(stream.SendMsg(new([]byte)), stream.CloseSend()); err != nil {
			return err
		}
		watching.Go(func() { // ends with the interceptor, or the connection
			var m []byte
			var err error
			for err == nil {
				err = stream.RecvMsg(&m)
			}
			if err != io.EOF && ctx.Err() == nil {
				failed = err
			}
		})
		return nil
	}
	o.close = func() error {
		err := conn.Close()
		watching.Wait()
		return errors.Join(err, failed)
	}
	return o, nil
}

// opaque is a codec that leaves messages as they are.
type opaque struct{}

func (opaque) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (opaque) Unmarshal(data []byte, v any) error { *v.(*[]byte) = data; return nil }
func (opaque) Name() string                       { return "proto" }
