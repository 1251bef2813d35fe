package config

// Usage is the text of -h.
const Usage = `RPCAPD, a remote packet capture daemon.

Serves the interfaces of this host to clients of libpcap's remote capture
protocol (rpcap://), such as Wireshark, tcpdump and Capstan's interceptor.

USAGE:
  rpcapd [-b ADDRESS] [-p PORT] [-4] [-n] [-l LIST] [-D] [OPTION...]

  -b, --bind ADDRESS   listen on this address, or all addresses of this name
                       (default: all IPv4 and IPv6 addresses)
  -p, --port PORT      listen on this TCP port, a number or a service name
                       (default: 2002)
  -4, --ipv4           use IPv4 only
  -n, --null-auth      let clients in without a password. Without -n nobody
                       gets in over TCP, since this daemon knows no passwords.
  -l, --allow LIST     let in only these hosts: addresses, prefixes such as
                       10.0.0.0/8, names (looked up for each connection),
                       between blanks, commas, semicolons or newlines
  -D, --debug          log debugging messages
  -h, --help           print this text and exit

      --unix-socket PATH        listen on a unix socket (mode 0660). Without -b
                                and -p, TCP is not served then. Data
                                connections are made to PATH.N for the port N
                                that the protocol announces. Clients need no
                                password: the kernel says who they are.
      --unix-allow-uid N[,N]    users who may connect to the unix socket
                                (default: root and the daemon's own user)
      --unix-allow-gid N[,N]    groups who may, by their primary group
      --metrics-address HOST:PORT
                                serve Prometheus metrics at /metrics, and
                                /healthz, by HTTP
      --ring-size MiB           kernel memory for each capture (default: 32)
      --max-sessions N          control connections at the same time
                                (default: 64). When all are taken, a client
                                that has not yet logged in makes room for a
                                new one.
      --log-format text|json    format of the log on standard error
      --version                 print the version and exit

DEVICES are named by clients: an interface as listed, or "any". A device may
carry parameters, as in rpcap://HOST/eth0?dir=in :
  dir=in|out|both               frames of one direction only
  self=exclude|include          this daemon's own data connections

PRIVILEGES: CAP_NET_RAW and CAP_BPF; no other, and not root.

SIGNALS: SIGINT and SIGTERM end the daemon, after running captures have been
delivered; a summary is printed. SIGHUP is logged and changes nothing.

EXIT STATUS: 0 done; 1 bad usage; 2 cannot start (a capability is missing, no
address to listen on, or a server failed).
`
