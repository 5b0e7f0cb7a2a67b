/** Devices that were chosen, by id, with their names. */
export type ChosenDevices = Map<string, string>
