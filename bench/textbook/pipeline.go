package textbook

import (
	"sync"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/tcpassembly"
	"github.com/google/gopacket/tcpassembly/tcpreader"

	"capstan/pkg/capture"
)

// Exchange is a request and its response.
type Exchange struct {
	Method, Host, Path string
	Status             int
	RequestHeader      map[string][]string
	ResponseHeader     map[string][]string
	RequestLen         int64  // bytes of the body
	ResponseLen        int64  //
	RequestBody        []byte // the first bytes of the body
	ResponseBody       []byte
}

// bodyLimit is how much of a body is kept: as much as the interceptor keeps by
// default.
const bodyLimit = 4096

// Pipeline takes frames. Its methods are for one goroutine.
type Pipeline struct {
	assembler *tcpassembly.Assembler
	factory   *factory
}

// New returns a Pipeline that hands each exchange to emit, one at a time.
func New(emit func(*Exchange)) *Pipeline {
	f := &factory{emit: emit, connections: make(map[connectionKey]*connection)}
	return &Pipeline{assembler: tcpassembly.NewAssembler(tcpassembly.NewStreamPool(f)), factory: f}
}

// Frame takes the next frame, of an Ethernet.
func (p *Pipeline) Frame(f *capture.Frame) {
	packet := gopacket.NewPacket(f.Data, layers.LayerTypeEthernet, gopacket.DecodeOptions{NoCopy: true})
	network := packet.NetworkLayer()
	if tcp, ok := packet.TransportLayer().(*layers.TCP); ok && network != nil {
		p.assembler.AssembleWithTimestamp(network.NetworkFlow(), tcp, time.Unix(0, f.Timestamp))
	}
}

// Finish tells that no frame follows, and waits for all exchanges.
func (p *Pipeline) Finish() {
	p.assembler.FlushAll()
	p.factory.running.Wait()
}

// connectionKey names a connection from its client's side.
type connectionKey struct{ network, transport gopacket.Flow }

// factory makes a reader for each direction of each connection.
type factory struct {
	emit    func(*Exchange)
	running sync.WaitGroup

	mu sync.Mutex
	// Guarded by mu.
	connections map[connectionKey]*connection // of which one direction has ended at most
}

// New implements [tcpassembly.StreamFactory]. Who comes first is the client,
// which is right where the handshake is seen.
func (f *factory) New(network, transport gopacket.Flow) tcpassembly.Stream {
	key := connectionKey{network, transport}
	reverse := connectionKey{network.Reverse(), transport.Reverse()}
	stream := tcpreader.NewReaderStream()
	f.mu.Lock()
	c := f.connections[reverse]
	fromServer := c != nil
	if !fromServer {
		c = &connection{factory: f}
		f.connections[key] = c
	} else {
		delete(f.connections, reverse)
	}
	f.mu.Unlock()
	f.running.Add(1)
	go func() { // ends with its direction of the connection
		defer f.running.Done()
		c.read(&stream, fromServer)
	}()
	return &stream
}

func (f *factory) done(e *Exchange) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.emit(e)
}
