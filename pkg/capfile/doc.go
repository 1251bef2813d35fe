// Package capfile reads capture files (pcap and pcapng, told apart by their
// first bytes) and writes pcapng.
//
// Formats: draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng. The package
// exists beside gopacket's pcapgo since that one keeps link types in 8 bits, so
// that Linux cooked v2 (276) can't be told from type 20, and allocates for
// every frame of a file with mixed link types.
package capfile
