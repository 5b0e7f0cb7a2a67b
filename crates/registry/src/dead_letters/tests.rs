use hubward_model::JournalId;

use super::*;
use crate::testing::{device, integration, registry};
use crate::{HubSide, Removed};

fn letter(integration: &IntegrationId, device: &DeviceId, offset: u64) -> NewDeadLetter {
    let (journal, epoch) = (JournalId::from_stored("journal".to_owned()), Epoch::from_raw(1 << 32 | 7));
    let offset = Offset::from_raw(offset);
    let message = Message {
        topic: "devices/d/signals/t".to_owned(),
        payload: Bytes::from_static(b"\0\xff21.5"),
        qos: Qos::AtLeastOnce,
        retain: true,
        content_type: Some("text/plain".to_owned()),
        user_properties: vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())],
    };
    let draft = Draft {
        kind: Kind::Signal,
        received_at: Timestamp::from_millis(1),
        device: Some(device.clone()),
        only_for: Some(integration.clone()),
        message,
        note: Bytes::from_static(b"note"),
    };
    NewDeadLetter {
        integration: integration.clone(),
        device: device.clone(),
        message_id: MessageId::new(&journal, epoch, offset),
        code: "message".to_owned(),
        reason: "too large".to_owned(),
        hub_error: Some("amqp:link:message-size-exceeded".to_owned()),
        attempts: 3,
        at: Timestamp::from_millis(1000 + i64::try_from(offset.to_raw()).unwrap()),
        record: Record { offset, epoch, draft },
    }
}

async fn lane() -> (Registry, IntegrationId, DeviceId, tempfile::TempDir) {
    let (registry, folder) = registry().await;
    let board = device(&registry, "board").await;
    let azure = integration(&registry, "azure", &[(&board, "board-1")]).await.id;
    (registry, azure, board, folder)
}

#[tokio::test]
async fn a_dead_letter_holds_all_it_takes_to_send_it_again() {
    let (registry, azure, board, _folder) = lane().await;
    let new = letter(&azure, &board, 5);
    let id = registry.add_dead_letters(std::slice::from_ref(&new)).await.unwrap().remove(0);
    let (found, record) = registry.dead_letter(&id).await.unwrap();
    assert_eq!(record, new.record);
    let told = (&found.message_id, found.reason.as_str(), &found.hub_error, found.attempts, found.at, found.size);
    assert_eq!(told, (&new.message_id, "too large", &new.hub_error, 3, new.at, 6));
    assert_eq!((found.offset, found.epoch), (new.record.offset, new.record.epoch));
    assert_eq!(registry.dead_letters(&DeadLetterFilter::default()).await.unwrap(), [found]);
    assert!(matches!(registry.dead_letter("gone").await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn the_same_message_again_is_brought_up_to_date_not_doubled() {
    let (registry, azure, board, _folder) = lane().await;
    let new = letter(&azure, &board, 5);
    let first = registry.add_dead_letters(std::slice::from_ref(&new)).await.unwrap();
    let again = NewDeadLetter { attempts: 4, reason: "malformed".to_owned(), ..new };
    assert_eq!(registry.add_dead_letters(&[again]).await.unwrap(), first);
    let all = registry.dead_letters(&DeadLetterFilter::default()).await.unwrap();
    assert_eq!((all.len(), all[0].attempts, all[0].reason.as_str()), (1, 4, "malformed"));
}

#[tokio::test]
async fn pages_show_every_dead_letter_once_the_oldest_first() {
    let (registry, azure, board, _folder) = lane().await;
    let mut letters: Vec<_> = (0..25).map(|offset| letter(&azure, &board, offset)).collect();
    // Some of the same moment.
    letters[10..15].iter_mut().for_each(|letter| letter.at = Timestamp::from_millis(1010));
    registry.add_dead_letters(&letters).await.unwrap();
    let mut offsets = Vec::new();
    let mut filter = DeadLetterFilter { limit: Some(4), ..DeadLetterFilter::default() };
    loop {
        let page = registry.dead_letters(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.after = Some((last.at, last.id.clone()));
        offsets.extend(page.iter().map(|letter| letter.offset.to_raw()));
    }
    assert!(offsets[..10].iter().copied().eq(0..10) && offsets[15..].iter().copied().eq(15..25));
    offsets.sort_unstable();
    assert!(offsets.into_iter().eq(0..25));
}

#[tokio::test]
async fn a_filter_finds_counts_and_removes_what_it_names_alone() {
    let (registry, azure, board, _folder) = lane().await;
    let other = device(&registry, "other").await;
    let second = integration(&registry, "second", &[(&board, "board-2"), (&other, "other-2")]).await.id;
    let letters = [letter(&azure, &board, 1), letter(&azure, &board, 2), letter(&second, &board, 1)];
    let ids = registry.add_dead_letters(&letters).await.unwrap();
    let more = registry.add_dead_letters(&[letter(&second, &other, 3)]).await.unwrap();
    assert_eq!(registry.dead_letter_counts(&azure).await.unwrap(), HashMap::from([(board.clone(), 2)]));
    let counts = HashMap::from([(board.clone(), 1), (other.clone(), 1)]);
    assert_eq!(registry.dead_letter_counts(&second).await.unwrap(), counts);

    let from_2 = registry.buried_from(&azure, &board, Offset::from_raw(2)).await.unwrap();
    assert!(from_2.into_iter().eq([Offset::from_raw(2)]), "of this device and integration, from there on");

    let of = |integration: &IntegrationId, device: &DeviceId| DeadLetterFilter {
        integration: Some(integration.clone()),
        device: Some(device.clone()),
        ..DeadLetterFilter::default()
    };
    assert_eq!(registry.dead_letters(&of(&second, &other)).await.unwrap()[0].id, more[0]);
    let by_id = DeadLetterFilter { ids: Some(vec![ids[1].clone(), "gone".to_owned()]), ..of(&azure, &board) };
    assert_eq!(registry.remove_dead_letters(&by_id).await.unwrap(), 1);
    let none = DeadLetterFilter { ids: Some(Vec::new()), ..DeadLetterFilter::default() };
    assert_eq!(registry.remove_dead_letters(&none).await.unwrap(), 0);
    assert_eq!(registry.remove_dead_letters(&of(&second, &board)).await.unwrap(), 1);
    let left: Vec<_> = registry.dead_letters(&DeadLetterFilter::default()).await.unwrap();
    assert_eq!(left.iter().map(|letter| &letter.id).collect::<Vec<_>>(), [&ids[0], &more[0]]);
    assert_eq!(registry.remove_dead_letters(&DeadLetterFilter::default()).await.unwrap(), 2);
}

#[tokio::test]
async fn dead_letters_go_with_their_binding_and_are_counted() {
    let (registry, azure, board, _folder) = lane().await;
    registry.add_dead_letters(&[letter(&azure, &board, 1), letter(&azure, &board, 2)]).await.unwrap();
    let removed = registry.remove_bindings(&azure, std::slice::from_ref(&board), HubSide::Settled).await.unwrap();
    assert_eq!(removed, Removed { bindings: 1, dead_letters: 2, deletions: 0 });
    let late = registry.add_dead_letters(&[letter(&azure, &board, 3)]).await.unwrap();
    assert_eq!(late, [String::new()], "its binding is gone");
    assert!(registry.dead_letters(&DeadLetterFilter::default()).await.unwrap().is_empty());
}
