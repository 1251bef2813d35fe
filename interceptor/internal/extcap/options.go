package extcap

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"

	"capstan/interceptor/internal/remote"
	"capstan/pkg/rpcap"
)

// options are the command line: what Wireshark asks, and the fields that the
// user has filled in.
type options struct {
	// What is asked.
	interfaces, dlts, config, capture bool
	install, help, version            bool
	installDir                        string
	iface                             string // the interface it is asked about
	wiresharkVersion                  string
	reload                            string // the field whose values are asked for
	fifo                              string
	filter                            string
	filterGiven                       bool

	// The fields.
	host             string
	port             string
	secure           bool
	caFile           string
	insecure         bool
	user, password   string
	device           string
	parameters       string
	snapLen          int
	notPromiscuous   bool
	transport        string
	sampling         string
	samplingValue    uint32
	readTimeoutMilli int
}

// Values of the field --transport, as remote.Transport reads them.
var transports = []struct {
	value, display string
}{
	{"connect", "TCP, opened from this host"},
	{"accept", "TCP, opened by the server"},
	{"datagram", "UDP"},
}

// Values of the field --sampling, as remote.Sampling reads them.
var samplings = []struct {
	value, display string
}{
	{"none", "every frame"},
	{"count", "one frame in N"},
	{"timer", "one frame, then none for N milliseconds"},
}

// field is one line of the dialog. Its flag has the default value.
type field struct {
	flag, display, kind, group string
	tooltip                    string
	more                       string // further braces, see extcap(4)
}

const (
	groupServer  = "Server"
	groupCapture = "Capture"
)

var fields = []field{
	{"host", "Host", "string", groupServer, "Name or address of the RPCAP server", "{required=true}"},
	{"port", "Port", "unsigned", groupServer, "TCP port of the server", "{range=1,65535}"},
	{"tls", "TLS", "boolflag", groupServer, "Both connections use TLS (rpcaps)", ""},
	{"tls-ca", "CA certificates", "fileselect", groupServer, "PEM file that the server's certificate is verified with; empty: those of the system", "{mustexist=true}"},
	{"tls-insecure", "Accept any certificate", "boolflag", groupServer, "Don't verify the server's certificate: whoever is on the way can read and change what is captured", ""},
	{"user", "User", "string", groupServer, "Empty: no authentication", ""},
	{"password", "Password", "password", groupServer, "Empty: that in the environment's " + remote.PasswordVariable, ""},
	{"device", "Device", "selector", groupCapture, "Interface of the server; reload to list them", "{reload=true}{placeholder=Load devices…}"},
	{"parameters", "Device parameters", "string", groupCapture, "Parameters that Capstan's rpcapd knows, such as if=veth*&dir=in&cutoff=64k", ""},
	{"snaplen", "Snap length", "unsigned", groupCapture, "Bytes of each frame", "{range=1,262144}"},
	{"no-promiscuous", "No promiscuous mode", "boolflag", groupCapture, "Only frames to the server's host", ""},
	{"transport", "Frames come by", "selector", groupCapture, "", ""},
	{"sampling", "Sampling", "selector", groupCapture, "", ""},
	{"sampling-value", "N of the sampling", "unsigned", groupCapture, "", ""},
	{"read-timeout", "Read timeout (ms)", "unsigned", groupCapture, "How long the server may keep a frame to send it with others", ""},
}

const defaultDevice = "any"

// newFlags returns the flags that fill o.
func newFlags(o *options, out io.Writer) *pflag.FlagSet {
	f := pflag.NewFlagSet("extcap", pflag.ContinueOnError)
	f.SetOutput(out)
	f.SortFlags = false
	f.BoolVar(&o.install, "install", false, "copy this program into Wireshark's extcap folder and exit")
	f.StringVar(&o.installDir, "install-dir", "", "folder for --install; default is what tshark -G folders says")
	f.BoolVar(&o.help, "help", false, "print this and exit")
	f.BoolVar(&o.version, "version", false, "print the version and exit")

	f.BoolVar(&o.interfaces, "extcap-interfaces", false, "list the interfaces of this program")
	f.StringVar(&o.wiresharkVersion, "extcap-version", "", "version of Wireshark")
	f.StringVar(&o.iface, "extcap-interface", "", "the interface that the other options are about")
	f.BoolVar(&o.dlts, "extcap-dlts", false, "list the link types of an interface")
	f.BoolVar(&o.config, "extcap-config", false, "list the fields of an interface")
	f.StringVar(&o.reload, "extcap-reload-option", "", "list the values of a field")
	f.BoolVar(&o.capture, "capture", false, "capture into the fifo")
	f.StringVar(&o.fifo, "fifo", "", "file to write to")
	f.StringVar(&o.filter, "extcap-capture-filter", "", "capture filter; without --capture it is checked")

	f.StringVar(&o.host, "host", "", "server")
	f.StringVar(&o.port, "port", fmt.Sprint(rpcap.DefaultPort), "its port")
	f.BoolVar(&o.secure, "tls", false, "use TLS")
	f.StringVar(&o.caFile, "tls-ca", "", "PEM file with the certificates to verify the server with")
	f.BoolVar(&o.insecure, "tls-insecure", false, "don't verify the server")
	f.StringVar(&o.user, "user", "", "user")
	f.StringVar(&o.password, "password", "", "password; default is that in "+remote.PasswordVariable)
	f.StringVar(&o.device, "device", defaultDevice, "device to capture from")
	f.StringVar(&o.parameters, "parameters", "", "its parameters")
	f.IntVar(&o.snapLen, "snaplen", rpcap.MaxSnapLen, "bytes of each frame")
	f.BoolVar(&o.notPromiscuous, "no-promiscuous", false, "no promiscuous mode")
	f.StringVar(&o.transport, "transport", transports[0].value, "connect, accept or datagram")
	f.StringVar(&o.sampling, "sampling", samplings[0].value, "none, count or timer")
	f.Uint32Var(&o.samplingValue, "sampling-value", 1, "N of the sampling")
	f.IntVar(&o.readTimeoutMilli, "read-timeout", 100, "milliseconds")
	return f
}

// parse fills o.
func parse(args []string, out io.Writer) (*options, *pflag.FlagSet, error) {
	o := new(options)
	f := newFlags(o, out)
	if err := f.Parse(args); err != nil {
		return nil, f, err
	}
	if f.NArg() > 0 {
		return nil, f, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	o.filterGiven = f.Changed("extcap-capture-filter")
	return o, f, nil
}

// printFields prints the dialog.
func printFields(w io.Writer, f *pflag.FlagSet) {
	for i, d := range fields {
		fmt.Fprintf(w, "arg {number=%d}{call=--%s}{display=%s}{type=%s}{group=%s}%s", i, d.flag, d.display, d.kind, d.group, d.more)
		if value := f.Lookup(d.flag).DefValue; value != "" && d.kind != "selector" {
			fmt.Fprintf(w, "{default=%s}", value)
		}
		if d.tooltip != "" {
			fmt.Fprintf(w, "{tooltip=%s}", d.tooltip)
		}
		fmt.Fprintln(w)
		switch d.flag {
		case "device":
			printValue(w, i, defaultDevice, "any (all interfaces)", true)
		case "transport":
			for n, t := range transports {
				printValue(w, i, t.value, t.display, n == 0)
			}
		case "sampling":
			for n, s := range samplings {
				printValue(w, i, s.value, s.display, n == 0)
			}
		}
	}
}

// fieldNumber returns the number of the field that has the flag.
func fieldNumber(flag string) (int, bool) {
	for i, d := range fields {
		if d.flag == strings.TrimPrefix(flag, "--") {
			return i, true
		}
	}
	return 0, false
}

func printValue(w io.Writer, arg int, value, display string, isDefault bool) {
	fmt.Fprintf(w, "value {arg=%d}{value=%s}{display=%s}{default=%t}\n", arg, clean(value), clean(display), isDefault)
}

// clean removes what would end a value: servers name their devices.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '{' || r == '}' {
			return '_'
		}
		return r
	}, s)
}
