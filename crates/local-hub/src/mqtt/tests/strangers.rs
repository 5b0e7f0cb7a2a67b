//! What strangers send.

use std::time::Duration;

use hubward_mqtt::protocol::{Codec, CoreCodec, Packet, Publish, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::testkit::{AnyStream, Kit, Login, MqttDevice, stream};

/// The hub ends the connection, whatever it says before.
async fn ends(mut stream: Box<dyn AnyStream>) {
    let mut answer = Vec::new();
    // An end without a goodbye of TLS is an end too.
    let _ = timeout(Duration::from_secs(60), stream.read_to_end(&mut answer)).await.expect("an end");
}

fn encoded(packets: &[Packet]) -> bytes::BytesMut {
    let mut codec = CoreCodec::client(Version::V311, 1 << 20);
    let mut bytes = bytes::BytesMut::new();
    for packet in packets {
        codec.encode(packet, &mut bytes).unwrap();
    }
    bytes
}

#[tokio::test]
async fn what_is_no_mqtt_ends_the_connection_and_harms_nobody() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let mut device = MqttDevice::open(&kit, "d").await;
    let too_long: Vec<u8> = [0x10, 0xff, 0xff, 0xff, 0x7f].into_iter().chain([0; 1000]).collect();
    let publish_first = encoded(&[Packet::Publish(Publish::new("devices/d/messages/events/", "x"))]);
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".as_slice(),
        &[0xff; 64],
        &[0; 64],
        &[0x10, 0x00],
        &[0x10, 0x80, 0x80, 0x80, 0x80, 0x01],
        &too_long,
        &publish_first,
    ] {
        for websocket in [false, true] {
            let mut stranger = stream(&kit, None, websocket).await;
            stranger.write_all(bytes).await.unwrap();
            stranger.flush().await.unwrap();
            ends(stranger).await;
        }
    }
    device.event("", "x").await.unwrap();
    kit.hub.stop().await;
}

#[tokio::test]
async fn what_a_device_may_not_send_ends_its_connection() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let connect = Login::new("d", &kit.device_token("d")).packet();
    let large = Packet::Publish(Publish::new("devices/d/messages/events/", vec![0; 400 * 1024]));
    for after in [
        vec![0x30, 0xff, 0xff, 0xff, 0x7f],
        vec![0x00, 0x00],
        vec![0x82, 0x02, 0x00, 0x01],
        encoded(std::slice::from_ref(&connect)).to_vec(),
        encoded(&[large]).to_vec(),
    ] {
        let mut stranger = stream(&kit, None, false).await;
        stranger.write_all(&encoded(std::slice::from_ref(&connect))).await.unwrap();
        // The hub may have closed before all was written.
        let _ = stranger.write_all(&after).await;
        let _ = stranger.flush().await;
        ends(stranger).await;
    }
    while kit.state().presence.is_connected("d") {
        tokio::task::yield_now().await;
    }
    assert_eq!(kit.hub.events().await.unwrap(), []);
    kit.hub.stop().await;
}

#[tokio::test]
async fn a_device_that_does_not_read_is_let_go() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let mut device = MqttDevice::open(&kit, "d").await;
    device.subscribe("$iothub/methods/POST/#").await;
    let payload: bytes::Bytes = format!("\"{}\"", "x".repeat(100_000)).into();
    // Nobody reads; TCP holds some megabytes, the hub one.
    let devices = &kit.state().devices;
    let now = Duration::ZERO;
    while kit.state().presence.is_connected("d") {
        let _ = devices.invoke("d", "m", payload.clone(), now, now).await;
        tokio::task::yield_now().await;
    }
    drop(device);
    kit.hub.stop().await;
}

#[tokio::test]
async fn half_a_packet_is_waited_for_and_a_stop_does_not_wait_for_it() {
    let kit = Kit::start().await;
    kit.devices(&["d"]).await;
    let mut stranger = stream(&kit, None, false).await;
    stranger.write_all(&[0x10]).await.unwrap();
    stranger.flush().await.unwrap();
    let _idle = stream(&kit, None, true).await;
    let mut device = MqttDevice::open(&kit, "d").await;
    device.event("", "x").await.unwrap();
    kit.hub.stop().await;
    ends(stranger).await;
    device.closed().await;
}
