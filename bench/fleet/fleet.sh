#!/bin/sh
# fleet.sh measures commands on devices, programs and scans beside the tools that people use for them. It needs root, Linux
# and sshd; of clush, parallel-ssh, ansible, GNU parallel, xargs and nmap it runs those that are installed. All traffic stays on
# 127.0.0.0/8. Each figure is a line: what, how many, seconds.
#
#   go build -o /tmp/shoal ./cmd/shoal && sh bench/fleet/fleet.sh /tmp/shoal [ssh] [exec] [hostile] [scan] [wide]
#
# HOSTS (200), PROGRAMS (10000), HOSTILE (1000) and ADDRESSES (16: a prefix length) make it smaller.
set -eu
shoal=${1:?the shoal binary}
shift
parts=${*:-ssh exec hostile scan wide}
hosts=${HOSTS:-200}
programs=${PROGRAMS:-10000}
hostile=${HOSTILE:-1000}
prefix=${ADDRESSES:-16}
fanout=64

dir=$(mktemp -d)
chmod 755 "$dir"
gateway='' sshd=''
cleanup() {
	[ -z "$gateway" ] || kill "$gateway" 2>/dev/null || true
	[ -z "$sshd" ] || kill "$sshd" 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT

# timed WHAT COUNT COMMAND… runs a command and prints how long it took, and its exit status where that is not 0.
timed() {
	what=$1 count=$2
	shift 2
	begun=$(date +%s.%N)
	status=0
	"$@" >"$dir/out" 2>"$dir/err" </dev/null || status=$?
	ended=$(date +%s.%N)
	awk -v w="$what" -v n="$count" -v b="$begun" -v e="$ended" -v s="$status" \
		'BEGIN { printf "%-46s %8d %8.2f s%s\n", w, n, e - b, s ? "   exit status " s : "" }'
}

# have says whether a program is installed, and that it is not.
have() {
	command -v "$1" >/dev/null || { echo "$1: not installed"; return 1; }
}

# serve starts a gateway with these flags on a socket.
serve() {
	"$shoal" server --listen "unix://$dir/gateway" --ready-file "$dir/ready" --log-level error "$@" &
	gateway=$!
	while [ ! -e "$dir/ready" ]; do sleep 0.05; done
	export SHOAL_GATEWAY="unix://$dir/gateway"
}

stop() {
	kill "$gateway"
	wait "$gateway" || true
	gateway=''
	rm -f "$dir/ready"
}

# devices starts one sshd that answers on all of 127.0.0.0/8, with a user of its own.
devices() {
	id shoal-test >/dev/null 2>&1 || useradd --system --no-create-home --home-dir / --shell /bin/sh --password '*' shoal-test
	mkdir -p /run/sshd
	ssh-keygen -q -t ed25519 -N '' -f "$dir/host"
	ssh-keygen -q -t ed25519 -N '' -f "$dir/id"
	cp "$dir/id.pub" "$dir/authorized"
	chmod 644 "$dir/authorized"
	/usr/sbin/sshd -D -e -f /dev/null -h "$dir/host" -p 2222 -o ListenAddress=0.0.0.0 -o "AuthorizedKeysFile=$dir/authorized" \
		-o PidFile=none -o UsePAM=no -o UseDNS=no -o StrictModes=no -o MaxStartups=1000 -o LogLevel=ERROR 2>"$dir/sshd" &
	sshd=$!
	{ printf '[127.*]:2222 '; cut -d' ' -f1,2 "$dir/host.pub"; } >"$dir/known"
	cat >"$dir/config" <<-EOF
	Host *
	  Port 2222
	  User shoal-test
	  IdentityFile $dir/id
	  IdentitiesOnly yes
	  IdentityAgent none
	  UserKnownHostsFile $dir/known
	  GlobalKnownHostsFile none
	  StrictHostKeyChecking yes
	  LogLevel ERROR
	EOF
	until ssh -F "$dir/config" 127.0.1.1 true 2>/dev/null; do sleep 0.1; done
	set="127.0.1.[1-$hosts]"
	nodes=$(seq -f '127.0.1.%g' 1 "$hosts")
	echo "$nodes" >"$dir/nodes"
}

# loop is what the handshakes cost with nothing but ssh itself, so many at once.
loop() { xargs -P "$fanout" -I{} ssh -F "$dir/config" {} true <"$dir/nodes"; }

measure_ssh() {
	devices
	serve --ssh --ssh-config "$dir/config"
	timed "shoal exec, first contact" "$hosts" "$shoal" client -q exec -w "$set" --fanout $fanout -- true
	timed "shoal exec, connections kept" "$hosts" "$shoal" client -q exec -w "$set" --fanout $fanout -- true
	if have clush; then
		timed "clush" "$hosts" clush -q -f $fanout -o "-F $dir/config" -w "$set" true
	fi
	if have parallel-ssh; then
		timed "parallel-ssh" "$hosts" parallel-ssh -h "$dir/nodes" -p $fanout -x "-F $dir/config" true
	fi
	if have ansible; then
		sed 's/$/ ansible_connection=ssh/' "$dir/nodes" >"$dir/inventory"
		timed "ansible -m raw" "$hosts" env ANSIBLE_SSH_ARGS="-F $dir/config" ansible all -i "$dir/inventory" -f $fanout -m raw -a true
	fi
	timed "ssh itself, by xargs -P" "$hosts" loop
	stop
	kill "$sshd"
	sshd=''
}

measure_exec() {
	serve --exec
	timed "shoal exec --via exec" "$programs" "$shoal" client -q exec --via exec -w "n[1-$programs]" --fanout $fanout -- true
	stop
	if have parallel; then
		timed "GNU parallel" "$programs" sh -c "seq $programs | parallel --will-cite -j $fanout true {} >/dev/null"
	fi
	timed "xargs -P" "$programs" sh -c "seq $programs | xargs -P $fanout -n 1 true"
}

# measure_hostile ends programs that ignore TERM, begin a session of their own and let go of their output.
measure_hostile() {
	mark="shoal-hostile-$$"
	serve --exec
	timed "timeouts of hostile commands" "$hostile" "$shoal" client -q exec --via exec --timeout 1s --fanout 100 -w "n[1-$hostile]" --shell -- \
		"trap '' TERM; (setsid sh -c 'trap \"\" TERM HUP; exec >/dev/null 2>&1; sleep 1000; : $mark' &) ; sleep 1000; : $mark"
	sleep 0.1
	alive=$(grep -lsa "shoal-[h]ostile-$$" /proc/[0-9]*/cmdline | wc -l) # the pattern does not match grep's own arguments
	echo "of them alive after 100 ms: $alive"
	stop
}

# listeners opens ports at addresses of 127.50.0.0/16, as many as there are descriptors for, and waits.
listeners() {
	python3 - "$dir/listening" 5000 "$prefix" <<-'EOF' &
	import random, resource, socket, sys, time
	n = int(sys.argv[2])
	resource.setrlimit(resource.RLIMIT_NOFILE, (n + 100, n + 100))
	choose, kept, places = random.Random(1), [], set()
	size = 2 ** (32 - int(sys.argv[3]))
	while len(places) < min(n, size * 4):
	    a = choose.randrange(size)
	    place = ("127.50.%d.%d" % (a >> 8, a & 255), 7001 + choose.randrange(16))
	    if place in places:
	        continue
	    s = socket.socket()
	    s.bind(place)
	    s.listen(16)
	    places.add(place)
	    kept.append(s)
	open(sys.argv[1], "w").write("\n".join("%s:%d" % p for p in sorted(places)) + "\n")
	time.sleep(3600)
	EOF
	listener=$!
	while [ ! -s "$dir/listening" ]; do sleep 0.1; done
}

measure_scan() {
	listeners
	probes=$((1 << (32 - prefix) << 4))
	timed "shoal scan, ulimit -n 256" "$probes" sh -c "ulimit -n 256; exec '$shoal' client -q scan --embedded 127.50.0.0/$prefix -p 7001-7016 --rate 1000000 --open"
	cut -f1 "$dir/out" | sort >"$dir/found"
	sort "$dir/listening" >"$dir/there"
	echo "open $(wc -l <"$dir/there"), missed $(comm -13 "$dir/found" "$dir/there" | wc -l), false open $(comm -23 "$dir/found" "$dir/there" | wc -l)"
	if have nmap; then
		timed "nmap -sT -Pn -n, ulimit -n 256" "$probes" sh -c "ulimit -n 256; exec nmap -sT -Pn -n -T5 --min-hostgroup 4096 -oG - -p 7001-7016 --open 127.50.0.0/$prefix"
		grep -o '[0-9]*/open/' "$dir/out" | wc -l | sed 's/^/nmap found /'
	fi
	kill "$listener"
}

# measure_wide is how soon the first answer of a /8 is there, and how much memory the scan has taken a few seconds later.
measure_wide() {
	for run in 1 2 3 4 5; do
		begun=$(date +%s%N)
		"$shoal" client -q scan --embedded 127.0.0.0/8 -p 22,80,443 --rate 5000 >"$dir/wide" 2>/dev/null &
		scan=$!
		while [ ! -s "$dir/wide" ]; do :; done
		ended=$(date +%s%N)
		sleep 3
		echo "/8 x 3 ports: first answer after $(((ended - begun) / 1000000)) ms; $(awk '/VmHWM/ { print $2 }' /proc/$scan/status) KiB at most"
		kill -9 $scan
		wait $scan 2>/dev/null || true
	done
}

for part in $parts; do "measure_$part"; done
