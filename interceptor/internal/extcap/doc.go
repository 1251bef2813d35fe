// Package extcap speaks Wireshark's extcap interface (doc/extcap.4, "extcap -
// The extcap interface"): it describes one interface, "rpcap", with the fields
// that a capture from an RPCAP server needs, lists a server's devices for the
// field that chooses one, checks capture filters, and captures into the fifo
// that Wireshark names.
//
// Wireshark runs the program anew for every question. Fields come back as long
// options; a password is seen in the process list while a capture runs, so it
// may be left empty and given in the environment as RPCAP_PASSWORD.
package extcap
