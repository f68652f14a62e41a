//! The systems under load: child processes on CPU 1, ended with this process.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// One proxy.
pub struct Peer {
    pub name: &'static str,
    /// In front of a healthy backend.
    pub plain: SocketAddr,
    /// In front of a primary that always says 429 and a healthy secondary; `plain` where it cannot fail over.
    pub throttled: SocketAddr,
    /// Who serves `plain`, and who serves `throttled`: the same process where it can do both.
    processes: [u32; 2],
}

impl Peer {
    /// CPU time so far of the process that serves, and of its children.
    pub fn cpu(&self, throttled: bool) -> Duration {
        let pid = self.processes[usize::from(throttled)];
        cpu_of(pid) + children(pid).into_iter().map(cpu_of).sum::<Duration>()
    }

    /// Resident memory of its first process, bytes.
    pub fn rss(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.processes[0])).unwrap();
        let line = text.lines().find(|l| l.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

/// All of them, and the mock.
pub struct Peers {
    peers: Vec<Peer>,
    children: Vec<Child>,
    _directory: tempfile::TempDir,
}

impl Drop for Peers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Peers {
    /// All of them; `beside` is another release's binary, to compare with within the same rounds.
    pub fn start(beside: Option<&str>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let own = std::env::current_exe().unwrap();
        let (healthy, throttled) = (free(), free());
        let mut children =
            vec![spawn("0", own.to_str().unwrap(), &["mock", &healthy.to_string(), &throttled.to_string()])];
        wait(healthy);
        let mut peers = Vec::new();

        let listen = free();
        let floor = spawn("1", own.to_str().unwrap(), &["floor", &format!("{listen}={healthy}")]);
        peers.push(Peer { name: "pingora-floor", plain: listen, throttled: listen, processes: [floor.id(); 2] });
        children.push(floor);

        let (plain, failing) = (free(), free());
        if let Some(nginx) = nginx(directory.path(), plain, failing, healthy, throttled) {
            peers.push(Peer { name: "nginx", plain, throttled: failing, processes: [nginx.id(); 2] });
            children.push(nginx);
        } else {
            eprintln!("nginx is not installed: its column is missing");
        }

        let gateway = program();
        let others = beside.map(|program| ("beside", program));
        for (name, program) in others.into_iter().chain([("tidegate", gateway.as_str())]) {
            let (plain, failing) = (free(), free());
            let ways = [("plain", plain, vec![healthy]), ("failing", failing, vec![throttled, healthy])];
            let processes = ways.map(|(way, listen, backends)| {
                tidegate(program, directory.path(), &format!("{name}-{way}"), listen, &backends, "")
            });
            let pids = [processes[0].id(), processes[1].id()];
            peers.push(Peer { name, plain, throttled: failing, processes: pids });
            children.extend(processes);
        }

        for peer in &peers {
            wait(peer.plain);
            wait(peer.throttled);
        }
        Self { peers, children, _directory: directory }
    }

    /// The gateway with and without its parts, each in front of a healthy backend.
    pub fn parted() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let own = std::env::current_exe().unwrap();
        let (healthy, throttled) = (free(), free());
        let mut children =
            vec![spawn("0", own.to_str().unwrap(), &["mock", &healthy.to_string(), &throttled.to_string()])];
        wait(healthy);
        let mut peers = Vec::new();
        for (name, more) in parts() {
            let listen = free();
            let child = tidegate(&program(), directory.path(), &name.replace(' ', "-"), listen, &[healthy], &more);
            peers.push(Peer { name, plain: listen, throttled: listen, processes: [child.id(); 2] });
            children.push(child);
            wait(listen);
        }
        Self { peers, children, _directory: directory }
    }

    pub fn all(&self) -> &[Peer] {
        &self.peers
    }

    pub fn names(&self) -> Vec<&'static str> {
        self.peers.iter().map(|p| p.name).collect()
    }

    pub fn named(&self, name: &str) -> &Peer {
        self.peers.iter().find(|p| p.name == name).unwrap()
    }
}

/// The gateway that is measured: `--binary`, or the one that cargo has built.
pub fn program() -> String {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--binary").skip(1);
    let named = arguments.next().map(|path| std::fs::canonicalize(path).unwrap());
    named.map_or_else(|| env!("CARGO_BIN_EXE_tidegate").to_owned(), |path| path.to_str().unwrap().to_owned())
}

const CLIENT_KEY: &str = "fef5a9502aea39971694c04b078d0ea58f37623a733dd0dcad2db6258ff50b79";

/// What the parts of the gateway cost: each beside the gateway without it.
fn parts() -> [(&'static str, String); 3] {
    [("tidegate", String::new()), ("with waf", waf()), ("with consumers", consumers())]
}

/// 100 consumers with three limits each, one of which counts tokens. The load is one of them.
fn consumers() -> String {
    let mut text = "usage_limits:\n".to_owned();
    for limit in [
        "rate, by: [ consumer ], requests: { max: 100000000, per: 1m }",
        "spend, by: [ consumer, deployment ], tokens: { max: 4000000000, per: 1m }",
        "width, by: [ consumer ], concurrent: { requests: 10000 }, quota: { requests: 1000000000, per: day }",
    ] {
        text += &format!("  - {{ name: {limit} }}\n");
    }
    text += "consumers:\n";
    for index in 0..100 {
        // Of `client-key-0123456789abcdef`, which the load sends, and of keys that nobody has.
        let hash = if index == 50 { CLIENT_KEY.to_owned() } else { format!("{index:064x}") };
        text += &format!(
            "  - {{ name: team-{index}, keys: [ {{ hash: \"sha256:{hash}\" }} ], limits: [ rate, spend, width ] }}\n"
        );
    }
    text
}

/// 50 custom rules of five kinds, none of which matches, built-in protection and body policy.
fn waf() -> String {
    let mut text = "waf:\n  policy: edge\n  policies:\n    - name: edge\n      mode: prevent\n      builtin: {}\n      body: { unknown_keys: deny }\n      rules:\n".to_owned();
    for index in 0..50 {
        let condition = match index % 5 {
            0 => format!(
                "variable: RequestHeader, selector: user-agent, operator: Contains, values: [ bad-agent-{index} ], transforms: [ Lowercase ]"
            ),
            1 => format!("variable: RequestUri, operator: BeginsWith, values: [ /private/{index} ]"),
            2 => format!("variable: QueryString, operator: RegEx, values: [ \"(?:evil|worse){index}[0-9]{{3}}$\" ]"),
            3 => format!("variable: RemoteAddr, operator: IPMatch, values: [ 198.51.{index}.0/24 ]"),
            _ => format!("variable: RequestHeader, selector: x-tenant, operator: Equal, values: [ tenant-{index} ]"),
        };
        text += &format!(
            "        - {{ name: rule-{index}, priority: {}, conditions: [ {{ {condition} }} ], action: block }}\n",
            index + 1
        );
    }
    text
}

fn tidegate(
    program: &str,
    directory: &Path,
    name: &str,
    listen: SocketAddr,
    backends: &[SocketAddr],
    more: &str,
) -> Child {
    let mut text = format!(
        "version: 1\nhome_region: swedencentral\nprocess: {{ threads: 1, upgrade_socket: {d}/{name}/upgrade.sock }}\n\
         listeners: [ {{ name: public, address: \"{listen}\" }} ]\nadmin: {{ address: \"{}\" }}\n\
         limits: {{ connections: {{ requests_max: 1000000, per_address_max: 10000 }} }}\naccess_log: {{ file: {d}/{name}.log }}\n{more}pools:\n  - name: chat\n    ejection: {{ advised_max: 10m }}\n    backends:\n",
        free(),
        d = directory.display(),
    );
    for (index, backend) in backends.iter().enumerate() {
        text += &format!(
            "      - {{ name: b{index}, region: swedencentral, priority: {}, url: \"http://{backend}\", deployment: gpt-4o-{index}, auth: {{ api_key: {{ env: BENCH_KEY }} }} }}\n",
            index + 1
        );
    }
    let file = directory.join(format!("{name}.yaml"));
    std::fs::write(&file, text).unwrap();
    spawn("1", program, &["run", "--config", file.to_str().unwrap()])
}

fn nginx(
    dir: &Path,
    plain: SocketAddr,
    failing: SocketAddr,
    healthy: SocketAddr,
    throttled: SocketAddr,
) -> Option<Child> {
    let text = format!(
        "worker_processes 1; daemon off; master_process off; pid {d}/nginx.pid; error_log {d}/error.log;\nevents {{ worker_connections 4096; }}\n\
         http {{ access_log off; client_max_body_size 64m; client_body_buffer_size 16m; client_body_temp_path {d}/body; proxy_temp_path {d}/proxy;\n\
         fastcgi_temp_path {d}/f; uwsgi_temp_path {d}/u; scgi_temp_path {d}/s; keepalive_requests 1000000;\n\
         upstream one {{ server {healthy}; keepalive 512; keepalive_requests 1000000; }}\n\
         upstream two {{ server {throttled}; server {healthy} backup; keepalive 512; keepalive_requests 1000000; }}\n\
         server {{ listen {plain}; location / {{ proxy_pass http://one; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_buffering off; }} }}\n\
         server {{ listen {failing}; location / {{ proxy_pass http://two; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_buffering off;\n\
         proxy_next_upstream error timeout http_429 http_503 non_idempotent; }} }} }}\n",
        d = dir.display()
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, text).unwrap();
    let path = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|p| Path::new(p).exists())?;
    Some(spawn("1", path, &["-c", file.to_str().unwrap(), "-e", dir.join("start.log").to_str().unwrap()]))
}

pub fn spawn(cpu: &str, program: &str, arguments: &[&str]) -> Child {
    Command::new("taskset")
        .args(["-c", cpu, program])
        .args(arguments)
        .env("BENCH_KEY", "backend-key")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("taskset (util-linux) starts the process")
}

pub fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

pub fn wait(address: SocketAddr) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "nothing listens on {address}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Time that the threads of one process have spent on a CPU, to the nanosecond. (The tick counts of `stat` are 10 ms.)
pub fn cpu_of(pid: u32) -> Duration {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let spent = |thread: std::fs::DirEntry| -> Option<u64> {
        std::fs::read_to_string(thread.path().join("schedstat")).ok()?.split(' ').next()?.parse().ok()
    };
    Duration::from_nanos(threads.flatten().filter_map(spent).sum())
}

/// A process and its children.
pub fn family(pid: u32) -> Vec<u32> {
    std::iter::once(pid).chain(children(pid)).collect()
}

fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|p| p.parse().ok()).collect()
}
