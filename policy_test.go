package capstan

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// room is one package, or a tree of them if its path ends in "/...", and what
// the packages in it may import besides the standard library.
type room struct {
	path string
	may  []string // of this module and of others; a prefix ends in "..."
	why  string
}

// rooms is the map of the house. Adding an import means changing a line here,
// and giving the reason.
var rooms = []room{
	{"capstan", nil, "documents only"},
	{"capstan/pkg/capture", nil, "the words that all share"},
	{"capstan/pkg/flow", nil, "the connection key"},
	{"capstan/pkg/capfile", []string{"capstan/pkg/capture"}, "capture files, pure format"},
	{"capstan/pkg/rpcap", []string{"capstan/pkg/capture"}, "messages know no sockets"},
	{"capstan/pkg/rpcap/rpcapclient", []string{"capstan/pkg/rpcap", "capstan/pkg/capture"}, "knows sockets, not the kernel's capture"},
	{"capstan/pkg/rpcap/rpcaptest", []string{"capstan/pkg/rpcap", "capstan/pkg/capture"}, "for tests and bench"},
	{"capstan/pkg/pcapfilter", []string{"capstan/pkg/capture", "golang.org/x/net/bpf"}, "a compiler: the kernel is for others"},
	{"capstan/pkg/sockfilter", []string{"capstan/pkg/capture", "github.com/cilium/ebpf...", "golang.org/x/net/bpf", "golang.org/x/sys/unix"}, "the only one that speaks eBPF"},
	{"capstan/pkg/afpacket", []string{"golang.org/x/sys/unix"}, "the ring knows no filter language"},
	{"capstan/pkg/packet", []string{"capstan/pkg/capture", "capstan/pkg/flow"}, "decodes, keeps nothing"},
	{"capstan/pkg/defrag", []string{"capstan/pkg/packet"}, "fragments to datagrams, no clock"},
	{"capstan/pkg/reassembly", []string{"capstan/pkg/flow", "capstan/pkg/packet"}, "no clock, no goroutine, no gopacket"},
	{"capstan/pkg/prefetch", nil, "addresses, no contents; the only assembly"},
	{"capstan/pkg/netns", []string{"golang.org/x/sys/unix", "github.com/vishvananda/netlink..."}, "namespaces for tests, demo and bench"},
	{"capstan/pkg/unixsock", []string{"golang.org/x/sys/unix"}, "both binaries listen on unix sockets and ask who came"},
	{"capstan/pkg/hostaccess", []string{"golang.org/x/sys/unix"}, "asks the kernel what a pod was given"},
	{"capstan/pkg/strictyaml", []string{"go.yaml.in/yaml/v3"}, "both binaries read files strictly; yaml.v3 tells the line of each key"},
	{"capstan/pkg/smallfile", nil, "files that users write, bounded, and certificates in them"},
	{"capstan/pkg/leaktest", nil, "asks tests for their goroutines"},
	{"capstan/pkg/logtest", nil, "what others write while a test reads it"},
	{"capstan/pkg/certtest", nil, "makes certificates for tests"},
	{"capstan/pkg/addrtest", nil, "gives tests an address of their own"},
	{"capstan/pkg/netns/netnstest", []string{"capstan/pkg/netns", "golang.org/x/sys/unix"}, "asks tests for privileges"},
	{"capstan/proto/...", []string{"google.golang.org/protobuf...", "google.golang.org/grpc...", "github.com/planetscale/vtprotobuf/protohelpers"}, "generated; vtprotobuf's code encodes a record without reflection"},

	{"capstan/rpcapd/...", []string{"capstan/pkg/...", "capstan/rpcapd/...", "github.com/coreos/go-systemd/v22...", "github.com/vishvananda/netlink...",
		"github.com/prometheus/client_golang...", "golang.org/x/net/bpf", "golang.org/x/net/ipv4", "golang.org/x/sys/unix", "golang.org/x/sync/errgroup", "golang.org/x/time/rate"}, "the privileged process: no payload, no protobuf, no interceptor"},
	{"capstan/rpcapd/internal/auth", []string{"capstan/pkg/smallfile", "github.com/go-crypt/x/...", "golang.org/x/crypto/..."},
		"who somebody is; golang.org/x/crypto hashes by bcrypt and Argon2, go-crypt has the methods of crypt(5) that it lacks"},
	{"capstan/rpcapd/internal/hashpassword", []string{"capstan/rpcapd/internal/auth", "golang.org/x/term"}, "asks for a password without echo"},
	{"capstan/rpcapd/internal/policy", []string{"capstan/pkg/smallfile", "capstan/pkg/strictyaml"}, "who may what"},
	{"capstan/rpcapd/internal/audit", []string{"capstan/pkg/rpcap"}, "a record that nothing can hold up"},
	{"capstan/interceptor", []string{"capstan/interceptor/internal/command", "golang.org/x/crypto/x509roots/fallback"}, "main; brings the authorities for where the system has none"},
	{"capstan/interceptor/relay", []string{"capstan/interceptor/internal/relay", "golang.org/x/crypto/x509roots/fallback"}, "main of the program that captures nothing"},
	{"capstan/interceptor/internal/relay", []string{"capstan/interceptor/internal/collector", "capstan/interceptor/internal/config", "capstan/interceptor/internal/delivery",
		"capstan/interceptor/internal/sink/...", "capstan/interceptor/internal/spool", "capstan/interceptor/internal/tlsconf", "capstan/proto/...",
		"github.com/spf13/cobra", "github.com/spf13/pflag", "github.com/prometheus/client_golang...", "golang.org/x/time/rate", "google.golang.org/grpc..."}, "receives, keeps, forwards"},
	{"capstan/interceptor/internal/collector", []string{"capstan/interceptor/internal/delivery", "capstan/interceptor/internal/egress", "capstan/interceptor/internal/grpcgzip",
		"capstan/interceptor/internal/tlsconf", "capstan/proto/...", "github.com/spf13/pflag", "google.golang.org/grpc...", "google.golang.org/protobuf/proto"}, "both sides of one service"},
	{"capstan/interceptor/internal/config", []string{"capstan/interceptor/internal/rules", "capstan/pkg/smallfile", "capstan/pkg/strictyaml", "go.yaml.in/yaml/v3"}, "the file, whose options are the command's; yaml.v3 writes one"},
	{"capstan/interceptor/internal/rules", []string{"capstan/proto/..."}, "which records leave"},
	{"capstan/interceptor/internal/own", []string{"capstan/proto/..."}, "which connections are the sinks'"},
	{"capstan/interceptor/internal/memlimit", nil, "what the control group says"},
	{"capstan/interceptor/internal/lograte", nil, "a slog.Handler"},
	{"capstan/interceptor/internal/clients", []string{"golang.org/x/net/netutil"}, "listeners with a bound, counted"},
	{"capstan/interceptor/internal/egress", []string{"golang.org/x/net/http/httpproxy"}, "the only way out of the cluster"},
	{"capstan/interceptor/internal/grpcgzip", []string{"github.com/klauspost/compress/gzip", "google.golang.org/grpc/encoding..."}, "twice as fast as Go's gzip, for as many bytes"},
	{"capstan/interceptor/internal/tlsconf", []string{"capstan/pkg/smallfile", "google.golang.org/grpc/credentials"}, "files to TLS configurations"},
	{"capstan/interceptor/extcap", []string{"capstan/interceptor/internal/extcap"}, "main of Wireshark's plug-in"},
	{"capstan/interceptor/internal/remote", []string{"capstan/pkg/capture", "capstan/pkg/pcapfilter", "capstan/pkg/rpcap...", "capstan/pkg/smallfile"}, "what users write about a server, as rpcapclient takes it"},
	{"capstan/interceptor/internal/extcap", []string{"capstan/interceptor/internal/remote", "capstan/pkg/capfile", "capstan/pkg/capture", "capstan/pkg/rpcap...", "github.com/spf13/pflag"}, "Wireshark's questions and answers"},
	{"capstan/interceptor/internal/command", []string{"capstan/interceptor/internal/...", "capstan/pkg/capfile", "capstan/pkg/capture", "capstan/pkg/defrag", "capstan/pkg/hostaccess", "capstan/pkg/packet", "capstan/pkg/reassembly", "capstan/pkg/rpcap...",
		"capstan/proto/...", "google.golang.org/grpc...", "github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/sys/unix"}, "wires the rooms"},
	{"capstan/interceptor/internal/source", []string{"capstan/interceptor/internal/remote", "capstan/pkg/capfile", "capstan/pkg/capture", "capstan/pkg/pcapfilter", "capstan/pkg/rpcap...",
		"github.com/klauspost/compress/gzip", "github.com/klauspost/compress/zstd", "golang.org/x/sys/unix"}, "yields frames, of compressed files, too"},
	{"capstan/interceptor/internal/memory", nil, "asks the collector, knows nobody's structures"},
	{"capstan/interceptor/internal/engine", []string{"capstan/interceptor/internal/l7/...", "capstan/interceptor/internal/exchange", "capstan/interceptor/internal/memory",
		"capstan/pkg/capture", "capstan/pkg/defrag", "capstan/pkg/flow", "capstan/pkg/packet", "capstan/pkg/prefetch", "capstan/pkg/reassembly", "capstan/proto/..."}, "frames to exchanges"},
	{"capstan/interceptor/internal/arena", nil, "allocates small things together"},
	{"capstan/interceptor/internal/l7/...", []string{"capstan/interceptor/internal/l7/...", "capstan/interceptor/internal/arena", "capstan/interceptor/internal/exchange",
		"capstan/pkg/flow", "capstan/pkg/reassembly", "capstan/proto/..."}, "push parsers"},
	{"capstan/interceptor/internal/content", []string{"capstan/proto/...", "github.com/andybalholm/brotli", "github.com/klauspost/compress/..."},
		"undoes content codings; klauspost/compress has gzip, deflate and zstd, all faster than the standard library's, andybalholm/brotli the only brotli without cgo"},
	{"capstan/interceptor/internal/l7/websocket", []string{"capstan/interceptor/internal/exchange", "capstan/pkg/flow", "capstan/pkg/reassembly", "capstan/proto/...",
		"github.com/klauspost/compress/flate"}, "inflates messages as content does"},
	{"capstan/interceptor/internal/l7/tls", []string{"capstan/interceptor/internal/exchange", "capstan/interceptor/internal/l7/opaque", "capstan/pkg/flow", "capstan/pkg/reassembly", "capstan/proto/...",
		"golang.org/x/crypto/cryptobyte"}, "reads hellos; cryptobyte checks every length"},
	{"capstan/interceptor/internal/exchange/exchangetest", []string{"capstan/proto/...", "google.golang.org/protobuf/..."}, "keeps records for tests"},
	{"capstan/interceptor/internal/exchange", []string{"capstan/interceptor/internal/arena", "capstan/interceptor/internal/content", "capstan/pkg/flow", "capstan/pkg/reassembly", "capstan/proto/...",
		"github.com/twmb/murmur3"}, "builds the record; murmur3 names connections"},
	{"capstan/interceptor/internal/sink/...", []string{"capstan/interceptor/internal/sink/...", "capstan/interceptor/internal/delivery", "capstan/interceptor/internal/durable", "capstan/proto/...", "github.com/klauspost/compress/zstd"}, "records to bytes"},
	{"capstan/interceptor/internal/sink/ndjson", []string{"capstan/interceptor/internal/delivery", "capstan/proto/...", "github.com/segmentio/asm/base64"}, "bodies in base64 are most of a line; segmentio/asm takes a tenth of the standard library's time"},
	{"capstan/interceptor/internal/sink/stream", []string{"capstan/interceptor/internal/delivery", "golang.org/x/sys/unix"}, "asks the kernel for a larger pipe when nobody reads"},
	{"capstan/interceptor/internal/sink/kafka", []string{"capstan/interceptor/internal/delivery", "capstan/interceptor/internal/sink/ndjson", "capstan/proto/...",
		"github.com/klauspost/compress/zstd", "github.com/twmb/franz-go/pkg/...", "google.golang.org/protobuf/encoding/protowire", "google.golang.org/protobuf/proto"}, "franz-go speaks Kafka's protocol in Go alone"},
	{"capstan/interceptor/internal/sink/otlp", []string{"capstan/interceptor/internal/delivery", "capstan/interceptor/internal/grpcgzip", "capstan/proto/...", "go.opentelemetry.io/proto/slim/otlp/...",
		"github.com/klauspost/compress/gzip", "google.golang.org/grpc...", "google.golang.org/protobuf/proto"}, "OTLP's messages, without the SDK that makes them of a program's own doings"},
	{"capstan/interceptor/internal/sink/otlp/otlptest", []string{"go.opentelemetry.io/proto/slim/otlp/...", "google.golang.org/grpc...", "google.golang.org/protobuf/proto"}, "the other side, for tests"},
	{"capstan/interceptor/internal/durable", nil, "names of files on disk"},
	{"capstan/interceptor/internal/spool", []string{"capstan/interceptor/internal/durable", "golang.org/x/sys/unix"}, "a queue of bytes on disk"},
	{"capstan/interceptor/internal/watch", []string{"capstan/interceptor/internal/delivery", "capstan/proto/...", "cel.dev/cel-go..."}, "the latest records and those who follow them; cel-go is the filter language"},
	{"capstan/interceptor/internal/api", []string{"capstan/interceptor/internal/clients", "capstan/interceptor/internal/delivery", "capstan/interceptor/internal/engine", "capstan/interceptor/internal/ledger", "capstan/interceptor/internal/memory", "capstan/interceptor/internal/source", "capstan/interceptor/internal/watch",
		"capstan/pkg/rpcap", "capstan/pkg/pcapfilter", "capstan/pkg/reassembly", "capstan/pkg/unixsock", "capstan/proto/...", "golang.org/x/time/rate",
		"google.golang.org/grpc...", "google.golang.org/protobuf..."}, "who may ask what, and the answers"},
	{"capstan/interceptor/internal/figures", nil, "numbers for people"},
	{"capstan/interceptor/internal/terminal", []string{"capstan/interceptor/internal/figures", "capstan/interceptor/internal/sink/...", "capstan/interceptor/internal/tlsconf", "capstan/proto/...",
		"charm.land/bubbletea/v2", "github.com/charmbracelet/x/ansi", "google.golang.org/grpc...", "google.golang.org/protobuf..."}, "the API for people; bubbletea draws, x/ansi measures text"},
	{"capstan/interceptor/internal/delivery", []string{"capstan/interceptor/internal/spool", "capstan/proto/...", "google.golang.org/protobuf/proto"}, "queues between engines and sinks"},
	{"capstan/interceptor/internal/delivery/deliverytest", []string{"capstan/interceptor/internal/delivery", "capstan/proto/..."}, "makes records for tests"},
	{"capstan/interceptor/internal/ledger", []string{"capstan/interceptor/internal/...", "capstan/pkg/defrag", "capstan/pkg/packet", "capstan/pkg/reassembly", "capstan/proto/..."}, "reads every room's counters"},
	{"capstan/interceptor/internal/metrics", []string{"capstan/interceptor/internal/...", "capstan/pkg/defrag", "capstan/pkg/packet", "capstan/pkg/reassembly", "capstan/pkg/unixsock", "capstan/proto/...", "github.com/prometheus/client_golang..."}, "the ledger for Prometheus"},
	{"capstan/bench", []string{"capstan/bench/...", "capstan/pkg/...", "github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/sys/unix"}, "main"},
	{"capstan/bench/textbook", []string{"capstan/pkg/capture", "github.com/google/gopacket...", "golang.org/x/net/http2..."}, "made of the libraries that the engine is compared with"},
	{"capstan/bench/internal/pipeline", []string{"capstan/bench/...", "capstan/pkg/...", "github.com/google/pprof/profile", "github.com/twmb/franz-go/pkg/kfake",
		"google.golang.org/grpc..."}, "receivers of records, and profiles of the process that sends them"},
	{"capstan/bench/...", []string{"capstan/bench/...", "capstan/pkg/...", "github.com/cilium/ebpf...", "github.com/spf13/cobra", "github.com/vishvananda/netlink...", "golang.org/x/net/...", "golang.org/x/sys/unix"}, "drives the binaries from outside"},
}

type listedPackage struct {
	ImportPath, Dir string
	Standard        bool
	Imports         []string
}

func list(t *testing.T) []listedPackage {
	t.Helper()
	// With a profile a binary has variants of packages, of other names.
	out, err := exec.Command("go", "list", "-pgo=off", "-json=ImportPath,Dir,Standard,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []listedPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p listedPackage
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
	return packages
}

func matches(pattern, path string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "..."); ok {
		return strings.HasPrefix(path, prefix) || path == strings.TrimSuffix(prefix, "/")
	}
	return path == pattern
}

// findRoom returns the room of a package: its own, or the deepest tree it is in.
func findRoom(path string) *room {
	var best *room
	for i := range rooms {
		if rooms[i].path == path {
			return &rooms[i]
		}
		if matches(rooms[i].path, path) && (best == nil || len(rooms[i].path) > len(best.path)) {
			best = &rooms[i]
		}
	}
	return best
}

func TestImportsFollowTheMap(t *testing.T) {
	for _, p := range list(t) {
		r := findRoom(p.ImportPath)
		if r == nil {
			t.Errorf("%s is in no room: add it to the map", p.ImportPath)
			continue
		}
	imports:
		for _, i := range p.Imports {
			if !strings.Contains(strings.Split(i, "/")[0], ".") && !strings.HasPrefix(i, "capstan") {
				continue // standard library
			}
			for _, pattern := range r.may {
				if matches(pattern, i) {
					continue imports
				}
			}
			t.Errorf("%s must not import %s (%s)", p.ImportPath, i, r.why)
		}
	}
}

func TestTestHelpersStayInTests(t *testing.T) {
	for _, p := range list(t) {
		for _, i := range p.Imports {
			isTest := strings.HasSuffix(i, "test") && strings.HasPrefix(i, "capstan/")
			if isTest && !strings.HasPrefix(p.ImportPath, "capstan/bench") && !strings.HasSuffix(p.ImportPath, "test") {
				t.Errorf("%s imports the test helper %s", p.ImportPath, i)
			}
		}
	}
}

// TestEachPackageIsDocumentedOnce holds that a package has one package comment
// and no effects at import.
func TestEachPackageIsDocumentedOnce(t *testing.T) {
	for _, p := range list(t) {
		files, err := filepath.Glob(filepath.Join(p.Dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		var docs int
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			if f.Doc != nil {
				docs++
			}
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == "init" && fn.Recv == nil && !ast.IsGenerated(f) {
					t.Errorf("%s has an init function", name)
				}
			}
		}
		if docs != 1 && !strings.Contains(p.ImportPath, "/proto/") {
			t.Errorf("%s has %d package comments, want 1", p.ImportPath, docs)
		}
	}
}

// TestDocumentLinks holds that every relative link of the documents leads
// somewhere.
func TestDocumentLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)\)`)
	documents, err := filepath.Glob("*.md")
	if err != nil || len(documents) == 0 {
		t.Fatal(documents, err)
	}
	for _, name := range documents {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(m[1]); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
			}
		}
	}
}
