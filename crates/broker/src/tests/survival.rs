//! Crashes at any moment against a model: a sender and subscribers of quality of service 2, all with persistent sessions
//! and with the memory that MQTT asks of them. Every message arrives once, and for one subscriber in order.

use std::sync::{Arc, Mutex};

use hubward_mqtt::Qos;
use hubward_mqtt::protocol::{Ack, AckKind, Packet, PacketId, Publish};
use tokio::task::JoinHandle;

use super::durable::{ALL, Raw, ack, connect, connect_as, receive, subscribe, text};
use super::kit::*;
use crate::durable::keeper;

/// A small source of chance that repeats itself for a seed (xorshift64*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % bound
    }
}

/// The seeds of a run, in order; what a failed test printed last is the one that failed.
fn seeds() -> impl Iterator<Item = u64> {
    let last = std::env::var("HUBWARD_SESSION_SEEDS").map_or(8, |text| text.parse().unwrap());
    (1..=last).inspect(|seed| println!("seed {seed}"))
}

/// How far the sender's message is, as it knows.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    New,
    /// Sent, without an answer.
    Sent,
    /// PUBREC came.
    Received,
}

/// The process dies, or stops in order, and is started again.
async fn start_again(kit: Kit, chance: &mut Chance) -> Kit {
    match chance.below(3) {
        0 => kit.restart().await,
        _ => kit.crash(chance.below(1 << 20)).await,
    }
}

struct Sender {
    connection: Option<Raw>,
    number: u16,
    stage: Stage,
}

impl Sender {
    fn id(&self) -> PacketId {
        // Used again and again.
        PacketId::new(self.number % 2 + 1).unwrap()
    }

    async fn connection(&mut self, kit: &Kit) -> &mut Raw {
        if self.connection.is_none() {
            let (raw, present) = connect(kit, "d1", false).await;
            assert!(present || (self.number == 0 && self.stage == Stage::New), "the session is there");
            self.connection = Some(raw);
        }
        self.connection.as_mut().unwrap()
    }

    /// The next half of the exchange; without waiting for the answer it may be cut in the middle.
    async fn step(&mut self, kit: &Kit, wait: bool) {
        let id = self.id();
        let packet = match self.stage {
            Stage::Received => ack(AckKind::PubRel, id),
            stage => {
                let publish = signal("d1", self.number).with_qos(Qos::ExactlyOnce);
                Packet::Publish(Publish { packet_id: Some(id), dup: stage == Stage::Sent, ..publish })
            }
        };
        self.connection(kit).await.send(&packet).await.unwrap();
        if self.stage == Stage::New {
            self.stage = Stage::Sent;
        }
        if !wait {
            // Nobody hears the answer.
            self.connection = None;
            return;
        }
        match receive(self.connection(kit).await).await {
            Packet::Ack(Ack { kind: AckKind::PubRec, packet_id, .. }) if packet_id == id => {
                assert!(self.stage == Stage::Sent);
                self.stage = Stage::Received;
            }
            Packet::Ack(Ack { kind: AckKind::PubComp, packet_id, .. }) if packet_id == id => {
                assert!(self.stage == Stage::Received);
                self.stage = Stage::New;
                self.number += 1;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// What a subscriber remembers: packet ids it has not released, and what it took.
#[derive(Default)]
struct Memory {
    open: Vec<PacketId>,
    taken: Vec<String>,
}

async fn take(mut raw: Raw, memory: Arc<Mutex<Memory>>) {
    while let Ok(Some(packet)) = raw.receive().await {
        let answer = match packet {
            Packet::Publish(publish) => {
                let id = publish.packet_id.unwrap();
                let mut memory = memory.lock().unwrap();
                if !memory.open.contains(&id) {
                    memory.open.push(id);
                    memory.taken.push(text(&publish));
                }
                ack(AckKind::PubRec, id)
            }
            Packet::Ack(Ack { kind: AckKind::PubRel, packet_id, .. }) => {
                memory.lock().unwrap().open.retain(|open| *open != packet_id);
                ack(AckKind::PubComp, packet_id)
            }
            Packet::Disconnect(_) => return,
            other => panic!("{other:?}"),
        };
        if raw.send(&answer).await.is_err() {
            return;
        }
    }
}

async fn listen(kit: &Kit, memory: &Arc<Mutex<Memory>>) -> JoinHandle<()> {
    let (raw, present) = connect(kit, "app", false).await;
    assert!(present);
    tokio::spawn(take(raw, memory.clone()))
}

#[tokio::test]
async fn whenever_the_process_dies_every_message_of_quality_of_service_2_arrives_once_and_in_order() {
    for seed in seeds() {
        let mut chance = Chance(seed * 0x9e37_79b9);
        let mut kit = Kit::start();
        let memory = Arc::new(Mutex::new(Memory::default()));
        let (mut raw, _) = connect(&kit, "app", true).await;
        subscribe(&mut raw, ALL, Qos::ExactlyOnce).await;
        drop(raw);
        let mut subscriber = None::<JoinHandle<()>>;
        let mut sender = Sender { connection: None, number: 0, stage: Stage::New };
        // Once something was acknowledged the session is there for good.
        sender.step(&kit, true).await;
        for _ in 0..50 {
            match chance.below(12) {
                0..6 => sender.step(&kit, true).await,
                6 => sender.step(&kit, false).await,
                7 | 8 => {
                    if subscriber.is_none() {
                        subscriber = Some(listen(&kit, &memory).await);
                    }
                }
                9 => {
                    if let Some(task) = subscriber.take() {
                        task.abort();
                        let _ = task.await;
                    }
                }
                10 => keeper::snapshot(&kit.shared).await.unwrap(),
                _ => {
                    kit = start_again(kit, &mut chance).await;
                    sender.connection = None;
                    if let Some(task) = subscriber.take() {
                        within(task).await.unwrap();
                    }
                }
            }
        }
        let last = sender.number;
        while sender.number == last {
            sender.step(&kit, true).await;
        }
        if let Some(task) = subscriber.take() {
            task.abort();
            let _ = task.await;
        }
        let task = listen(&kit, &memory).await;
        let all: Vec<String> = (0..=last).map(|number| number.to_string()).collect();
        until(|| memory.lock().unwrap().taken.len() >= all.len()).await;
        task.abort();
        assert_eq!(kit.signals(), all, "recorded, seed {seed}");
        assert_eq!(memory.lock().unwrap().taken, all, "taken, seed {seed}");
        kit.stop().await;
    }
}

/// A member of a group, and its connection while there is one.
struct Member {
    client_id: &'static str,
    memory: Arc<Mutex<Memory>>,
    task: Option<JoinHandle<()>>,
}

impl Member {
    async fn join(kit: &Kit, client_id: &'static str) -> Self {
        let (mut raw, _) = connect_as(kit, "app", client_id, true).await;
        subscribe(&mut raw, &format!("$share/group/{ALL}"), Qos::ExactlyOnce).await;
        Self { client_id, memory: Arc::default(), task: None }
    }

    async fn listen(&mut self, kit: &Kit) {
        if self.task.is_none() {
            let (raw, present) = connect_as(kit, "app", self.client_id, false).await;
            assert!(present);
            self.task = Some(tokio::spawn(take(raw, self.memory.clone())));
        }
    }

    async fn hang_up(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }
}

#[tokio::test]
async fn whenever_the_process_dies_every_message_of_quality_of_service_2_arrives_once_in_its_group() {
    for seed in seeds() {
        let mut chance = Chance(seed * 0x9e37_79b9);
        let mut kit = Kit::start();
        let mut members = [Member::join(&kit, "first").await, Member::join(&kit, "second").await];
        let mut sender = Sender { connection: None, number: 0, stage: Stage::New };
        sender.step(&kit, true).await;
        for _ in 0..50 {
            let member = usize::from(chance.below(2) == 0);
            match chance.below(12) {
                0..5 => sender.step(&kit, true).await,
                5 => sender.step(&kit, false).await,
                6 | 7 => members[member].listen(&kit).await,
                8 => members[member].hang_up().await,
                9 => keeper::note_dealt(&kit.shared),
                10 => keeper::snapshot(&kit.shared).await.unwrap(),
                _ => {
                    kit = start_again(kit, &mut chance).await;
                    sender.connection = None;
                    for task in members.iter_mut().filter_map(|member| member.task.take()) {
                        within(task).await.unwrap();
                    }
                }
            }
        }
        let last = sender.number;
        while sender.number == last {
            sender.step(&kit, true).await;
        }
        for member in &mut members {
            member.hang_up().await;
            member.listen(&kit).await;
        }
        let taken = || {
            let all = members.iter().flat_map(|member| member.memory.lock().unwrap().taken.clone());
            let mut all: Vec<u16> = all.map(|text| text.parse().unwrap()).collect();
            all.sort_unstable();
            all
        };
        let expected: Vec<u16> = (0..=last).collect();
        until(|| taken().len() >= expected.len()).await;
        assert_eq!(taken(), expected, "taken, seed {seed}");
        for member in &mut members {
            member.hang_up().await;
        }
        kit.stop().await;
    }
}
