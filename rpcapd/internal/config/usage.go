package config

// Usage is the text of -h.
const Usage = `RPCAPD, a remote packet capture daemon.

Serves the interfaces of this host to clients of libpcap's remote capture
protocol (rpcap://), such as Wireshark, tcpdump and Capstan's interceptor.

USAGE: rpcapd [-b <address>] [-p <port>] [-t <data_port>] [-4] [-l <host_list>]
              [-a <host,port>] [-n] [-v] [-d] [-i] [-D] [-s <config_file>]
              [-S] [-C] [-K <ssl_keyfile>] [-X <ssl_certfile>]
              [-f <config_file>] [--OPTION...]
       rpcapd health [--help]
       rpcapd doctor [--help]
       rpcapd hash-password [--help]

  -b ADDRESS           listen on this address, or all addresses of this name
                       (default: all IPv4 and IPv6 addresses)
  -p PORT              listen on this TCP port, a number or a service name
                       (default: 2002)
  -t PORT              the TCP port of all data connections (default: the
                       kernel chooses one for each capture)
  -4                   use IPv4 only, to listen and for active mode
  -l LIST              let in only these hosts: addresses, prefixes such as
                       10.0.0.0/8, names (looked up for each connection),
                       between blanks, commas, semicolons or newlines
  -n                   let clients in without a password
  -a HOST,PORT[,HOST,PORT]...
                       active mode: connect to these clients, at most 10; the
                       last port may be missing, and DEFAULT or a missing port
                       is 2003
  -v                   active mode only: don't listen
  -d                   run in the background and log to syslog
  -i                   serve the client connected to standard input, as inetd,
                       xinetd and systemd (Accept=yes) start it, and exit; log
                       to syslog
  -D                   log debugging messages
  -s FILE              write the hosts of -l and -a, and -n, as a configuration
                       file, and go on
  -f FILE              read a configuration file, and again at each SIGHUP; it
                       replaces -l and -a, and -n if it has NullAuthPermit
  -S                   speak TLS, and nothing else (rpcaps://)
  -K FILE              key of the TLS certificate, PEM (default: key.pem)
  -X FILE              TLS certificate, PEM (default: cert.pem)
  -C                   accepted, but without effect: TLS compression is unsafe
  -h, --help           print this text and exit

      --unix-socket PATH        listen on a unix socket (mode 0660). Without -b
                                and -p, TCP is not served then. Data
                                connections are made to PATH.N for the port N
                                that the protocol announces. Clients need no
                                password: the kernel says who they are.
      --unix-allow-uid N[,N]... users who may connect to the unix socket
                                (default: root and the daemon's own user)
      --unix-allow-gid N[,N]... groups who may, by their primary group
      --tls-client-ca FILE      ask TLS clients for a certificate; if they have
                                one, it must be signed by one of these, PEM
      --tls-require-client-cert refuse TLS clients without a certificate
      --credentials FILE        users and password hashes, instead of the
                                system's accounts; each line is NAME:HASH, as
                                "rpcapd hash-password" prints it
      --policy FILE             what users may capture: devices, snap length, a
                                filter (YAML; docs/access.md)
      --capture-group NAME      system group whose members may capture
                                everything, as root may
      --audit-log FILE          write who captured what, one line of JSON each
      --metrics-address HOST:PORT
                                serve Prometheus metrics at /metrics, and
                                /healthz, by HTTP
      --ring-size MIB           kernel memory for each capture (default: 32)
      --max-sessions N          control connections at the same time
                                (default: 64). When all are taken, a client
                                that has not yet logged in makes room for a
                                new one.
      --max-sessions-per-host N control connections of one host, or one IPv6
                                /64 network (default: 32)
      --initial-timeout TIME    for a client to log in (default: 1m30s)
      --idle-timeout TIME       between requests while no capture runs
                                (default: 3m0s)
      --data-timeout TIME       for the client to open the data connection
                                (default: 30s)
      --reconnect-time TIME     between attempts to connect in active mode
                                (default: 30s)
      --pid-file FILE           write the daemon's process number
      --tell-host-access        for pods: warn of hostNetwork, hostPID and
                                privileged, if missing
      --log-format FORMAT       of the log on standard error: plain, which is
                                the reference's, text (key=value, with time)
                                or json (default: plain)
      --version                 print the version and exit

DEVICES are named by clients: an interface as listed, or "any". A device may
carry parameters, as in rpcap://HOST/any?if=veth*&dir=in :
  if=PATTERN[,PATTERN]...       with "any": only interfaces with such a name,
  not-if=PATTERN[,PATTERN]...   or without; followed as they come and go
  dir=in|out|both               frames of one direction only
  shard=I/N                     one of N parts of the traffic, by connection
  flows=1/N                     one connection in N
  cutoff=BYTES                  headers only after so much payload of a flow and
                                direction; 64k, 10M
  dedup=TIME                    a packet seen at two interfaces within TIME once
  link=sll|sll2                 the header of frames that have none of their own
  self=exclude|include          this daemon's own data connections
  filter=EXPRESSION             a filter beside the client's (pcap-filter(7)),
                                with + for blanks

PRIVILEGES: CAP_NET_RAW and CAP_BPF; no other, and not root. Without CAP_BPF
fewer filters run in the kernel, and some device parameters are refused.

SIGNALS: SIGINT and SIGTERM end the daemon, after running captures have been
delivered; a summary is printed. SIGHUP reads the files of -f, -X, -K,
--tls-client-ca and --policy again, and opens that of --audit-log anew.

EXIT STATUS: 0 done; 1 bad usage; 2 cannot start (a capability is missing, no
address to listen on, or a server failed).
`
