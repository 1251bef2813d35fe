package config

import (
	"fmt"
	"time"

	"capstan/interceptor/internal/rules"
)

// File is what a file says besides options.
type File struct {
	BodyTypes []string     `yaml:"body_types" doc:"media types of which bodies are kept, such as application/json or text/*; empty = all"`
	Rules     []rules.Rule `yaml:"rules" doc:"which records leave, in order: the first that matches decides, and what none matches leaves"`
	Sinks     []Sink       `yaml:"sinks" doc:"where records go: each gets every record"`

	// Settings are the options that the file sets, in its order.
	Settings []Setting `yaml:"-"`

	name string
}

// Option is an option that a file may set.
type Option struct {
	Key  string // in the file
	List bool   // takes several values
	Type string // bool, int, or another word for text
	Doc  string
}

// Setting is an option that the file sets.
type Setting struct {
	Key    string
	Values []string // one, unless the option is a list
	Line   int
}

// Wrong returns err with the place of s in the file.
func (f *File) Wrong(s Setting, err error) error {
	return fmt.Errorf("%s:%d: %s: %w", f.name, s.Line, s.Key, err)
}

// Sink is one way out. Exactly one of the kinds is set.
type Sink struct {
	Name       string `yaml:"name" doc:"unique; by default the kind"`
	Policy     string `yaml:"policy" enum:"block,drop-oldest,spool" doc:"when the sink is slower than the records come; by default spool if there is a spool, else block for stdout and file, drop-oldest for the others"`
	MaxRecords int    `yaml:"max_records" doc:"records that may wait in memory; 0 = 10,000"`
	MaxBytes   Size   `yaml:"max_bytes" doc:"bytes of records that may wait in memory; 0 = 64MiB, at most an eighth of the cap on memory"`
	SpoolDir   string `yaml:"spool_dir" doc:"directory of this sink alone, where records wait until it has them"`
	SpoolBytes Size   `yaml:"spool_bytes" doc:"bytes that the spool may have; 0 = 1GiB"`

	Stdout    *Stdout    `yaml:"stdout,omitempty" doc:"standard output"`
	File      *FileSink  `yaml:"file,omitempty" doc:"JSON lines in files that rotate"`
	Kafka     *Kafka     `yaml:"kafka,omitempty" doc:"a topic of Kafka"`
	OTLP      *OTLP      `yaml:"otlp,omitempty" doc:"spans and metrics for OpenTelemetry"`
	Collector *Collector `yaml:"collector,omitempty" doc:"another Capstan: a relay"`
}

// Kind names the kind that is set, "" for none.
func (s *Sink) Kind() string {
	switch {
	case s.Stdout != nil:
		return "stdout"
	case s.File != nil:
		return "file"
	case s.Kafka != nil:
		return "kafka"
	case s.OTLP != nil:
		return "otlp"
	case s.Collector != nil:
		return "collector"
	}
	return ""
}

// Stdout writes to standard output.
type Stdout struct {
	Format string `yaml:"format" enum:"text,json" doc:"for people, or one object per line"`
}

// FileSink writes JSON lines to files.
type FileSink struct {
	Path         string        `yaml:"path" doc:"of the file being written; full ones get a time into their name"`
	RotateSize   Size          `yaml:"rotate_size" doc:"bytes of a full file; 0 = any"`
	RotateAge    time.Duration `yaml:"rotate_age" doc:"age of a full file; 0s = any"`
	Keep         int           `yaml:"keep" doc:"full files to keep; 0 = all"`
	Zstd         bool          `yaml:"zstd" doc:"compress"`
	SyncToDevice bool          `yaml:"sync" doc:"records count as delivered when they are on the device"`
}

// TLS is how a sink's connections are secured.
type TLS struct {
	Enabled bool   `yaml:"enabled" doc:"use TLS"`
	CA      string `yaml:"ca" doc:"PEM file of the authorities for the server; default: the system's"`
	Cert    string `yaml:"cert" doc:"PEM file with a client certificate"`
	Key     string `yaml:"key" doc:"PEM file with the key of that"`
	Name    string `yaml:"server_name" doc:"name that the server's certificate must have, if not its host"`
}

// Proxy makes a sink's connections, by HTTP's CONNECT.
type Proxy struct {
	URL     Secret `yaml:"url" doc:"HOST:PORT, or a URL with http or https; a user and password in it are sent to it"`
	NoProxy string `yaml:"no_proxy" doc:"destinations without proxy; default: NO_PROXY in the environment"`
	CA      string `yaml:"ca" doc:"PEM file of the authorities for an https proxy; default: the system's"`
}

// Kafka produces to a topic.
type Kafka struct {
	Brokers     []string `yaml:"brokers" doc:"HOST:PORT of some of the brokers"`
	Topic       string   `yaml:"topic" doc:"that records go to"`
	Format      string   `yaml:"format" enum:"protobuf,json" doc:"of the values: an encoded capstan.v1.Exchange, or its JSON line"`
	Key         string   `yaml:"key" enum:"connection,server,none" doc:"what keeps records in one partition, in order"`
	Compression string   `yaml:"compression" enum:"none,gzip,snappy,lz4,zstd" doc:"of batches"`
	MaxRecord   Size     `yaml:"max_record" doc:"a longer value loses its bodies, then its headers, and is marked so"`
	TLS         TLS      `yaml:"tls" doc:"to the brokers"`
	Proxy       Proxy    `yaml:"proxy" doc:"proxy to the brokers, which has to allow CONNECT to their ports; default: none"`
	SASL        SASL     `yaml:"sasl" doc:"who we are"`
}

// SASL introduces us to brokers.
type SASL struct {
	Mechanism    string `yaml:"mechanism" enum:"none,plain,scram-sha-256,scram-sha-512" doc:"how"`
	User         string `yaml:"user" doc:"name"`
	PasswordFile string `yaml:"password_file" doc:"file with the password; read again for each connection"`
}

// OTLP exports spans and metrics.
type OTLP struct {
	Endpoint    string            `yaml:"endpoint" doc:"HOST:PORT with grpc; with http a URL that /v1/traces and /v1/metrics are put behind"`
	Protocol    string            `yaml:"protocol" enum:"grpc,http" doc:"how messages travel"`
	Traces      bool              `yaml:"traces" doc:"send a span for each record"`
	Metrics     bool              `yaml:"metrics" doc:"send histograms of durations"`
	Compression string            `yaml:"compression" enum:"none,gzip" doc:"of messages"`
	Headers     map[string]Secret `yaml:"headers" doc:"sent with each request; their values are never shown"`
	Service     string            `yaml:"service_name" doc:"service.name of the resource"`
	Timeout     time.Duration     `yaml:"timeout" doc:"of one request"`
	TLS         TLS               `yaml:"tls" doc:"to the receiver; with http the URL's scheme tells whether"`
	Proxy       Proxy             `yaml:"proxy" doc:"proxy to the receiver; default: with TLS, HTTPS_PROXY in the environment"`
}

// Collector delivers to a relay.
type Collector struct {
	Address       string `yaml:"address" doc:"HOST:PORT"`
	Insecure      bool   `yaml:"insecure" doc:"deliver in plain text"`
	CA            string `yaml:"ca" doc:"PEM file of the authorities for its certificate; default: the system's"`
	Cert          string `yaml:"cert" doc:"PEM file with a client certificate"`
	Key           string `yaml:"key" doc:"PEM file with the key of that"`
	Name          string `yaml:"server_name" doc:"name that its certificate must have, if not HOST"`
	TokenFile     string `yaml:"token_file" doc:"file with a bearer token; read again for each stream"`
	HTTPSProxy    Secret `yaml:"https_proxy" doc:"proxy: HOST:PORT or URL; default: HTTPS_PROXY in the environment"`
	NoProxy       string `yaml:"no_proxy" doc:"destinations without proxy; default: NO_PROXY in the environment"`
	ProxyCA       string `yaml:"proxy_ca" doc:"PEM file of the authorities for an https proxy"`
	Node          string `yaml:"node" doc:"name to introduce itself by; default: the host's"`
	NoCompression bool   `yaml:"no_compression" doc:"deliver uncompressed"`
}

// SetDefaults implements strictyaml.Defaulter.
func (s *Stdout) SetDefaults() { s.Format = "text" }

// SetDefaults implements strictyaml.Defaulter.
func (f *FileSink) SetDefaults() { f.RotateSize = 100 << 20 }

// SetDefaults implements strictyaml.Defaulter.
func (k *Kafka) SetDefaults() {
	k.Format, k.Key, k.Compression, k.MaxRecord = "protobuf", "connection", "zstd", 1_000_000
	k.SASL.Mechanism = "none"
}

// SetDefaults implements strictyaml.Defaulter.
func (o *OTLP) SetDefaults() {
	o.Protocol, o.Compression, o.Service = "grpc", "gzip", "capstan-interceptor"
	o.Traces, o.Metrics, o.Timeout = true, true, 10*time.Second
}
