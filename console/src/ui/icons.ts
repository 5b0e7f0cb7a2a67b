// The icons of states and actions, in one place so that one thing has one sign.
export {
  IconAlertOctagon, IconAlertTriangle, IconArrowRight, IconBell, IconBroadcast, IconCheck, IconChevronRight, IconCircle, IconCircleCheck,
  IconCircleDashed, IconCircleDot, IconCloudUpload, IconCopy, IconCpu, IconDots, IconDownload, IconInfoCircle, IconLayoutDashboard,
  IconListDetails, IconMailX, IconMenu2, IconMoon, IconPencil, IconPlayerPause, IconPlayerPlay, IconPlus, IconRefresh, IconSearch,
  IconSend, IconServer2, IconSettings, IconSortAscending, IconSortDescending, IconSun, IconTrash, IconUpload, IconUser, IconX,
} from '@tabler/icons-react'
