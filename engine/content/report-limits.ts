/** How much a report of a scrub names, whatever there is to tell. */

/** Named at most: a disk may fail as a whole. */
export const unreadableMax = 1_000;
