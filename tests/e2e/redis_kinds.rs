//! Every kind of server that limits can be shared over, real: TLS by a private CA, a cluster, a master with its sentinel.

use crate::common::{ms, secs};
use crate::shared_limits::connected;
use harness::{Ask, Authority, Gateway, Redis, Setup, Sim, eventually};

const LIMITS: &str = "usage_limits: [ { name: all, everywhere: true, strict: true, requests: { max: 20, per: 1h } }, \
                      { name: each, by: [ address ], everywhere: true, quota: { requests: 1000, per: month } } ]";

fn setup(redis: &str, sim: &Sim) -> Setup {
    let shared = format!("shared_limits: {{ redis: {{ {redis} }}, gateways: 2 }}");
    Setup::new().top(LIMITS).top(&shared).backend("a", sim, "")
}

async fn served(gateways: [&Gateway; 2], requests: usize) -> usize {
    let mut served = 0;
    for turn in 0..requests {
        let answer = gateways[turn % 2].ask(&Ask::chat("gpt")).await;
        assert!(matches!(answer.status, 200 | 429), "{answer}");
        served += usize::from(answer.status == 200);
        tokio::time::sleep(ms(10)).await;
    }
    served
}

/// Both gateways hold one limit together.
async fn hold_one_limit(gateways: [&Gateway; 2]) {
    for gateway in gateways {
        connected(gateway, 1.0).await;
    }
    let served = served(gateways, 40).await;
    assert!((20..=22).contains(&served), "{served} of 20");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_shared_over_tls_that_a_private_ca_vouches_for() {
    let (ours, another) = (Authority::new(), Authority::new());
    let (redis, sim) = (Redis::tls(&ours).await, Sim::start("swedencentral").await);
    let keys = format!("urls: [ \"{}\" ], ca_file: redis-ca.pem", redis.secure_url());
    let trusting = |authority: &Authority| setup(&keys, &sim).file("redis-ca.pem", &authority.pem());
    let first = trusting(&ours).start().await;
    let mut second = trusting(&another).start().await;
    connected(&first, 1.0).await;
    tokio::time::sleep(secs(1)).await;
    connected(&second, 0.0).await;
    assert!(second.apply(trusting(&ours)).await, "the file is read anew");
    hold_one_limit([&first, &second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_shared_over_three_servers_that_split_the_keys() {
    let (nodes, sim) = (Redis::sharded().await, Sim::start("swedencentral").await);
    let keys = format!("urls: [ \"{}\", \"{}\" ], cluster: true", nodes[0].url(), nodes[1].url());
    let (first, second) = (setup(&keys, &sim).start().await, setup(&keys, &sim).start().await);
    hold_one_limit([&first, &second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_shared_over_the_master_that_a_sentinel_names_and_over_its_successor() {
    let (master, sim) = (Redis::start().await, Sim::start("swedencentral").await);
    let replica = master.replica().await;
    let sentinel = master.sentinel().await;
    let keys = format!("urls: [ \"{}\" ], sentinel_master: limits", sentinel.url());
    let (first, second) = (setup(&keys, &sim).start().await, setup(&keys, &sim).start().await);
    for gateway in [&first, &second] {
        connected(gateway, 1.0).await;
    }
    assert_eq!(served([&first, &second], 10).await, 10);
    master.signal("KILL");
    connected(&first, 0.0).await;
    eventually("the replica has taken over", secs(30), async || {
        replica.command("ROLE").await.filter(|role| role.contains("master")).map(drop)
    })
    .await;
    for gateway in [&first, &second] {
        connected(gateway, 1.0).await;
    }
    let served = served([&first, &second], 30).await;
    assert!((9..=12).contains(&served), "{served} of the ten that were left");
}
