//! MQTT sessions that outlive the server: a QoS 2 signal is one signal, wherever the server is killed.

use std::num::NonZeroU16;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use hubward_mqtt::client::Framed;
use hubward_mqtt::protocol::{
    Ack, AckKind, Codec, Connect, CoreCodec, Packet, PacketId, Publish, Qos, Reason, Version,
};
use hubward_tests::Credentials;
use hubward_tests::faults::{Allowed, Scene, Setting, for_each_seed};
use tokio::net::TcpStream;

/// The packet id that every signal uses again.
const ID: PacketId = NonZeroU16::MIN;

/// A connection of the device's persistent session.
async fn connect(scene: &Scene, device: &Credentials) -> Result<Framed<TcpStream>> {
    let stream = TcpStream::connect(scene.server.mqtt()).await?;
    let codec: Box<dyn Codec> = Box::new(CoreCodec::client(Version::V311, 1 << 20));
    let mut framed = Framed::new(stream, codec);
    let connect = Connect {
        version: Version::V311,
        clean_start: false,
        client_id: format!("exactly once {}", device.id),
        username: Some(device.id.clone()),
        password: Some(device.password.clone().into()),
        ..Connect::default()
    };
    framed.send(&Packet::Connect(Box::new(connect))).await?;
    match framed.receive().await? {
        Some(Packet::ConnAck(answer)) if !answer.reason.is_error() => Ok(framed),
        other => bail!("no session: {other:?}"),
    }
}

/// Sends one packet and waits for the acknowledgement of this kind; an error if the connection ends before.
async fn exchange(framed: &mut Framed<TcpStream>, packet: &Packet, awaited: AckKind) -> Result<()> {
    framed.send(packet).await?;
    answered(framed, awaited).await
}

async fn answered(framed: &mut Framed<TcpStream>, awaited: AckKind) -> Result<()> {
    loop {
        match framed.receive().await?.context("the connection ended")? {
            Packet::Ack(ack) if ack.kind == awaited && ack.packet_id == ID => return Ok(()),
            _ => {}
        }
    }
}

/// What the client has of an answer when the server is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It has not waited for it.
    Unknown,
    /// It came, and the client went down with the server before it wrote that down.
    Forgotten,
    /// It has it.
    Known,
}

/// Says one signal exactly once; the server is killed in this step (0: PUBLISH, 1: PUBREL), if in any.
async fn say(scene: &mut Scene, device: &Credentials, body: &Bytes, mut kill: Option<(usize, Answer)>) -> Result<()> {
    let mut publish = Publish::new(format!("devices/{}/signals/n", device.id), body.clone()).with_qos(Qos::ExactlyOnce);
    publish.packet_id = Some(ID);
    let mut steps = [
        (Packet::Publish(publish), AckKind::PubRec),
        (Packet::Ack(Ack { kind: AckKind::PubRel, packet_id: ID, reason: Reason::SUCCESS }), AckKind::PubComp),
    ];
    let mut done = 0;
    let mut framed = connect(scene, device).await?;
    while done < steps.len() {
        let (packet, awaited) = &steps[done];
        match kill.take() {
            // The packet is on its way and its answer may be, too.
            Some((step, answer)) if step == done => {
                framed.send(packet).await?;
                if answer != Answer::Unknown {
                    answered(&mut framed, *awaited).await?;
                }
                scene.server.kill()?;
                scene.server.start_again().await?;
                framed = connect(scene, device).await?;
                // A client that has the answer goes on with the next step, one that has not repeats this one.
                done += usize::from(answer == Answer::Known);
                if let Packet::Publish(publish) = &mut steps[0].0 {
                    publish.dup = true;
                }
            }
            later => {
                kill = later;
                exchange(&mut framed, packet, *awaited).await?;
                done += 1;
            }
        }
    }
    framed.send(&Packet::Disconnect(hubward_mqtt::protocol::Disconnect::new(Reason::SUCCESS))).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qos_2_signal_is_one_signal_wherever_the_server_is_killed() {
    for_each_seed("kill -9 within QoS 2", async |mut dice| {
        let mut scene = Scene::set(&mut dice, Setting::devices(1)).await?;
        let device = scene.sender(0).device.clone();
        let id = scene.ids[0].clone();
        let kills = [0, 1]
            .into_iter()
            .flat_map(|step| [Answer::Unknown, Answer::Forgotten, Answer::Known].map(|answer| Some((step, answer))));
        // Between them the packet id is used again without a kill.
        for (number, kill) in kills.flat_map(|kill| [kill, None]).enumerate() {
            let body = Bytes::from(format!("exactly once {number:03}"));
            let place = scene.story.sends(&id, body.clone());
            say(&mut scene, &device, &body, kill).await?;
            scene.story.acknowledged(&id, place);
        }
        scene.end(Allowed::default()).await
    })
    .await
    .unwrap();
}
