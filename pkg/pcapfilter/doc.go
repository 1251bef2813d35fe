// Package pcapfilter compiles capture filter expressions, the language of
// tcpdump (pcap-filter(7)), to classic BPF.
//
// [Compile] does all of it; [Parse] tells whether an expression is right before
// the link type is known. A program tests frames as the client of a capture
// sees them: with their VLAN tags, and on cooked devices with the cooked header
// in front.
//
// # The language
//
// An expression is primitives joined by and (&&), or (||) and not (!). And and
// or have the same precedence and associate to the left; parentheses group. The
// primitives are:
//
//	[PROTOCOL] [DIRECTION] host ADDRESS         IPv4, IPv6; with ether a MAC address
//	[PROTOCOL] [DIRECTION] net NETWORK          10, 10.1, 10.0.0.0/8, 10.0.0.0 mask 255.0.0.0, 2001:db8::/32
//	[PROTOCOL] [DIRECTION] port N               of TCP, UDP, SCTP; a number or a common name
//	[PROTOCOL] [DIRECTION] portrange N-N
//	ether|ip|ip6|iso|isis proto N               by number or by name
//	ip, ip6, arp, rarp, tcp, udp, sctp, icmp, icmp6, igmp, igrp, pim, vrrp, carp, ah, esp,
//	  atalk, aarp, decnet, lat, sca, mopdl, moprc, stp, ipx, netbeui, iso, esis, isis, clnp
//	l1, l2, iih, lsp, snp, csnp, psnp           of IS-IS
//	llc [i|s|u|rr|rnr|rej|ui|ua|disc|sabme|test|xid|frmr]
//	                                            on Ethernet
//	[ether] broadcast, [ether|ip|ip6] multicast
//	vlan [ID], mpls [LABEL], pppoed, pppoes [SESSION]
//	less N, greater N, byte N OPERATOR N
//	inbound, outbound                           on cooked devices
//	ifindex N                                   on cooked devices, version 2
//	NUMBER RELATION NUMBER                      = == != < <= > >=
//
// DIRECTION is src, dst, src or dst (the default) or src and dst. Host is the
// default behind a direction. Values may be listed in parentheses, and what a
// value lacks it takes over from the one before: "tcp port 80 or 443".
//
// Numbers are unsigned, of 32 bits, computed by + - * / % & | ^ << >> from
// constants (decimal, octal behind 0, hexadecimal behind 0x, or named like
// tcp-syn and icmptype), len, and PROTOCOL[OFFSET:SIZE], the 1, 2 or 4 bytes at
// an offset of a header. A relation with bytes of a header holds only for
// frames that have the header; transport headers are found behind IPv4 only.
//
// vlan, mpls and pppoes move the view of all that is written behind them, to
// the end of the expression: "vlan 10 and tcp port 80" looks for TCP behind the
// tag. A second vlan is the inner tag.
//
// A frame is refused, whatever the expression, if it is too short for a test
// that is reached. Tests are reached in the order in which they are written,
// but for lists of hosts or of ports, which are one test.
//
// # Differences from libpcap
//
// Left out, each with an error that says so: gateway, protochain and names of
// hosts and networks, addresses of DECnet, geneve and vxlan, the tests of 802.11,
// ATM, SS7 and of BSD's packet filter logs, "ip broadcast", and inbound and outbound
// where the frame doesn't tell.
//
// Libpcap 1.10 takes 240.0.0.0 and above, broadcast included, for "ip multicast",
// and doesn't load the byte that "byte N & N" and "byte N | N" are about.
//
// Names of services and protocols are those of a table, not of the host's
// files. proto needs no backslash before names that are keywords. vlan and mpls
// work on cooked devices, mpls in every framing of PPP, and on cooked devices so
// do the protocols that are told by an LLC header. On BSD loopback both byte orders and all systems' numbers for IPv6
// are known.
package pcapfilter
